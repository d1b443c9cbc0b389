"""The table of precedence: every field of a policy, at every pair of levels.

One row for each field, or for each leaf of a field whose leaves inherit alone; a field without a row fails. What is
expected is what the deciding policy says when it is alone, its name included.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from itertools import count
from typing import Any, Final

import pytest

from handfast_operator.policy.compile import CompiledPolicy, PolicySet, compile_policy
from handfast_operator.resources.policies import (
    AccessRule,
    Caller,
    ClusterMtlsPolicy,
    Foreign,
    LimitsSpec,
    MtlsPolicy,
    OutboundSpec,
    PolicySpec,
    RateSpec,
    ShareSpec,
)
from handfast_operator.resources.selectors import parse_selector
from handfast_sidecar.policy.effective import Enforcement, Mode
from handfast_sidecar.policy.outgoing import Exempt, Outgoing

Policy = MtlsPolicy | ClusterMtlsPolicy
ORDERS: Final = {"app": "orders"}
LEVELS: Final = ("workload", "namespace", "cluster")
PAIRS: Final = [("workload", "namespace"), ("workload", "cluster"), ("namespace", "cluster")]
_numbers = count(1)


@dataclass(frozen=True)
class Row:
    """A field, or one leaf of it."""

    field: str
    one: Any
    other: Any
    """Two values that it may have."""
    seen: Callable[[CompiledPolicy], Any]
    """What has come of them."""
    adds: bool = False
    """Both levels count: what is seen is a tuple, the stronger's part first."""
    final: bool = False
    """Whether `overridable: false` makes it final."""
    empty: Any = None
    """The empty list, where that is not the same as leaving the field out."""
    leaf: str = ""

    def __str__(self) -> str:
        return f"{self.field}.{self.leaf}" if self.leaf else self.field


def rules(name: str) -> tuple[AccessRule, ...]:
    return (AccessRule((Caller(name, "shop"),)),)


def outbound(**said: Any) -> OutboundSpec:
    return OutboundSpec(**said)


REFUSE, ALLOW = Outgoing.REFUSE, Outgoing.ALLOW
LIMITS: Final[dict[str, Callable[[int], LimitsSpec]]] = {
    "maxConnections": lambda n: LimitsSpec(total=ShareSpec(max_connections=n)),
    "connectionsPerSecond": lambda n: LimitsSpec(total=ShareSpec(rate=RateSpec(n))),
    "perClient.maxConnections": lambda n: LimitsSpec(client=ShareSpec(max_connections=n)),
    "perClient.connectionsPerSecond": lambda n: LimitsSpec(client=ShareSpec(rate=RateSpec(n))),
    "handshakesPerSecond": lambda n: LimitsSpec(handshakes_per_second=n),
}


def limits(name: str, make: Callable[[int], LimitsSpec]) -> "Row":
    return Row("limits", make(1), make(2), lambda it: it.policy.limits, leaf=name)


TABLE: Final = [
    Row("mode", Mode.STRICT, Mode.DISABLED, lambda it: it.policy.default, final=True),
    Row("ports", {80: Mode.STRICT}, {80: Mode.DISABLED}, lambda it: it.policy.ports, final=True),
    Row("ttl", timedelta(hours=1), timedelta(hours=2), lambda it: it.ttl),
    Row(
        "foreign",
        Foreign(frozenset({80})),
        Foreign(frozenset({81})),
        lambda it: it.policy.foreign,
        empty=Foreign(frozenset()),
    ),
    Row("allow", rules("a"), rules("b"), lambda it: it.policy.allow, empty=()),
    Row("deny", rules("a"), rules("b"), lambda it: it.policy.deny.rules, adds=True),
    Row("enforcement", Enforcement.AUDIT, Enforcement.ENFORCE, lambda it: it.policy.enforcement, final=True),
    *(limits(name, make) for name, make in LIMITS.items()),
    Row(
        "outbound",
        outbound(unknown=REFUSE),
        outbound(unknown=ALLOW),
        lambda it: it.policy.outbound.unknown,
        final=True,
        leaf="unknown",
    ),
    Row(
        "outbound",
        outbound(plaintext=REFUSE),
        outbound(plaintext=ALLOW),
        lambda it: it.policy.outbound.plaintext,
        final=True,
        leaf="plaintext",
    ),
    Row(
        "outbound",
        outbound(exempt=(Exempt(service="shop/a"),)),
        outbound(exempt=(Exempt(service="shop/b"),)),
        lambda it: it.policy.outbound.exempt,
        final=True,
        empty=outbound(exempt=()),
        leaf="except",
    ),
]
NOT_COMPILED: Final = {"promote_after"}
"""How long `Auto` waits: what comes of it is the mode."""
EVERY = pytest.mark.parametrize("row", TABLE, ids=str)
EVERY_PAIR = pytest.mark.parametrize(("strong", "weak"), PAIRS)


def at(level: str, *, created: str = "2026-01-01T00:00:00Z", final: bool = False, **said: Any) -> Policy:
    """A policy of a level that says this."""
    number, spec = next(_numbers), PolicySpec(**said)
    if level == "cluster":
        return ClusterMtlsPolicy(f"c{number}", f"u{number}", number, 1, created, None, spec, overridable=not final)
    chosen = parse_selector({"matchLabels": ORDERS}) if level == "workload" else None
    return MtlsPolicy("shop", f"p{number}", f"u{number}", number, 1, created, chosen, spec)


def compiled(*policies: Policy) -> CompiledPolicy:
    cluster = tuple(each for each in policies if isinstance(each, ClusterMtlsPolicy))
    own = tuple(each for each in policies if isinstance(each, MtlsPolicy))
    return compile_policy("shop", ORDERS, {"team": "a"}, PolicySet(cluster, {"shop": own}), "cluster.local")


def test_every_field_of_a_policy_has_a_row_whose_values_can_be_told_apart() -> None:
    assert {row.field for row in TABLE} == {each.name for each in fields(PolicySpec)} - NOT_COMPILED
    for row in TABLE:
        seen = [row.seen(compiled(at("cluster", **{row.field: value}))) for value in (row.one, row.other)]
        assert seen[0] != seen[1], str(row)
        assert seen[0] != row.seen(compiled()), str(row)


@EVERY
@EVERY_PAIR
@pytest.mark.parametrize("swapped", [False, True])
def test_the_stronger_level_wins_and_deny_adds_up(row: Row, strong: str, weak: str, swapped: bool) -> None:
    winner, loser = at(strong, **{row.field: row.one}), at(weak, **{row.field: row.other})
    alone, below = row.seen(compiled(winner)), row.seen(compiled(loser))
    both = compiled(*((loser, winner) if swapped else (winner, loser)))
    assert row.seen(both) == ((*alone, *below) if row.adds else alone)


@EVERY
@EVERY_PAIR
def test_a_field_that_the_stronger_level_leaves_out_is_inherited(row: Row, strong: str, weak: str) -> None:
    said = at(weak, **{row.field: row.one})
    for other in TABLE:
        if other.field != row.field and {row.field, other.field} != {"mode", "ports"}:
            silent = at(strong, **{other.field: other.one})
            assert row.seen(compiled(silent, said)) == row.seen(compiled(said)), f"beside {other}"


@EVERY
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("swapped", [False, True])
def test_of_one_level_the_older_wins(row: Row, level: str, swapped: bool) -> None:
    older = at(level, created="2026-01-01T00:00:00Z", **{row.field: row.one})
    younger = at(level, created="2026-02-01T00:00:00Z", **{row.field: row.other})
    alone, below = row.seen(compiled(older)), row.seen(compiled(younger))
    both = compiled(*((younger, older) if swapped else (older, younger)))
    assert row.seen(both) == ((*alone, *below) if row.adds else alone)


@EVERY
@pytest.mark.parametrize("level", LEVELS)
def test_of_twins_the_name_decides_the_same_on_every_replica(row: Row, level: str) -> None:
    first, second = at(level, **{row.field: row.one}), at(level, **{row.field: row.other})
    first, second = replace(first, name="a"), replace(second, name="b")
    assert row.seen(compiled(first, second)) == row.seen(compiled(second, first))


@pytest.mark.parametrize("row", [row for row in TABLE if row.empty is not None], ids=str)
@EVERY_PAIR
def test_an_empty_list_is_said_and_takes_back_what_a_weaker_level_gives(row: Row, strong: str, weak: str) -> None:
    empty, given = at(strong, **{row.field: row.empty}), at(weak, **{row.field: row.one})
    assert row.seen(compiled(empty, given)) == row.seen(compiled(empty)) != row.seen(compiled(given))


@pytest.mark.parametrize("row", [row for row in TABLE if row.empty is None and row.field in ("ports", "deny")], ids=str)
@EVERY_PAIR
def test_an_empty_list_of_ports_or_denials_says_nothing(row: Row, strong: str, weak: str) -> None:
    empty, given = at(strong, **{row.field: type(row.one)()}), at(weak, **{row.field: row.one})
    assert row.seen(compiled(empty, given)) == row.seen(compiled(given))


@pytest.mark.parametrize("of_entry", LEVELS)
@pytest.mark.parametrize("of_mode", LEVELS)
def test_a_port_entry_of_any_level_beats_the_mode_of_any_level(of_entry: str, of_mode: str) -> None:
    entry, mode = at(of_entry, ports={80: Mode.PERMISSIVE}), at(of_mode, mode=Mode.STRICT)
    policy = compiled(entry, mode).policy
    assert (policy.rule_for(80).mode, policy.rule_for(80).origin) == (Mode.PERMISSIVE, entry.origin)
    assert (policy.rule_for(81).mode, policy.rule_for(81).origin) == (Mode.STRICT, mode.origin)


@EVERY_PAIR
def test_port_entries_of_all_levels_stand_side_by_side(strong: str, weak: str) -> None:
    result = compiled(at(strong, ports={80: Mode.STRICT}), at(weak, ports={80: Mode.DISABLED, 81: Mode.DISABLED}))
    assert {port: rule.mode for port, rule in result.policy.ports.items()} == {80: Mode.STRICT, 81: Mode.DISABLED}


# --- what a cluster policy makes final


@EVERY
@pytest.mark.parametrize("level", LEVELS)
def test_a_final_policy_beats_every_level_in_mode_ports_enforcement_outbound_and_in_nothing_else(
    row: Row, level: str
) -> None:
    final = at("cluster", final=True, created="2026-05-01T00:00:00Z", **{row.field: row.other})
    assert isinstance(final, ClusterMtlsPolicy)
    against = at(level, created="2026-01-01T00:00:00Z", **{row.field: row.one})
    open_ = replace(final, overridable=True)
    ordinary = row.seen(compiled(against, open_))
    assert row.seen(compiled(against, final)) == (row.seen(compiled(final)) if row.final else ordinary)


@pytest.mark.parametrize("level", LEVELS)
def test_a_final_mode_holds_for_every_port_that_its_own_policy_does_not_name(level: str) -> None:
    final = at("cluster", final=True, mode=Mode.STRICT, ports={9090: Mode.PERMISSIVE})
    against = at(level, ports={80: Mode.DISABLED, 9090: Mode.DISABLED}, mode=Mode.PERMISSIVE)
    policy = compiled(against, final).policy
    assert modes(policy.ports) == {9090: Mode.PERMISSIVE}
    assert (policy.rule_for(80).mode, policy.rule_for(80).origin) == (Mode.STRICT, final.origin)


def test_a_final_port_entry_without_a_mode_is_final_for_that_port_alone() -> None:
    final = at("cluster", final=True, ports={5432: Mode.STRICT})
    against = at("workload", mode=Mode.DISABLED, ports={5432: Mode.DISABLED, 80: Mode.PERMISSIVE})
    policy = compiled(against, final).policy
    assert policy.default.mode is Mode.DISABLED
    assert modes(policy.ports) == {5432: Mode.STRICT, 80: Mode.PERMISSIVE}


def test_of_two_final_policies_the_older_decides_and_the_younger_ones_ports_do_not_count() -> None:
    older = at("cluster", final=True, created="2026-01-01T00:00:00Z", mode=Mode.STRICT)
    younger = at("cluster", final=True, created="2026-02-01T00:00:00Z", mode=Mode.DISABLED, ports={80: Mode.DISABLED})
    policy = compiled(younger, older).policy
    assert (policy.default.origin, modes(policy.ports)) == (older.origin, {})


def test_a_final_policy_of_another_namespace_binds_nobody_here() -> None:
    elsewhere = at("cluster", final=True, mode=Mode.STRICT)
    assert isinstance(elsewhere, ClusterMtlsPolicy)
    elsewhere = replace(elsewhere, namespace_selector=parse_selector({"matchLabels": {"team": "b"}}))
    assert compiled(elsewhere, at("namespace", mode=Mode.DISABLED)).policy.default.mode is Mode.DISABLED


@pytest.mark.parametrize(
    "said", [{"mode": Mode.STRICT}, {"ports": {80: Mode.STRICT}}, {"outbound": outbound(plaintext=REFUSE)}]
)
@pytest.mark.parametrize("level", LEVELS)
def test_what_a_final_policy_refuses_no_audit_lets_pass(said: dict[str, Any], level: str) -> None:
    policy = compiled(at(level, enforcement=Enforcement.AUDIT), at("cluster", final=True, **said)).policy
    assert policy.enforcement.enforcement is Enforcement.ENFORCE


@pytest.mark.parametrize("level", LEVELS)
def test_a_final_policy_that_refuses_nothing_lets_others_audit(level: str) -> None:
    policy = compiled(at(level, enforcement=Enforcement.AUDIT), at("cluster", final=True, mode=Mode.PERMISSIVE)).policy
    assert policy.enforcement.enforcement is Enforcement.AUDIT


@pytest.mark.parametrize("level", LEVELS)
def test_no_exception_takes_back_what_a_final_policy_refuses(level: str) -> None:
    excepting = at(level, outbound=outbound(exempt=(Exempt(service="shop/a"),)))
    policy = compiled(excepting, at("cluster", final=True, outbound=outbound(unknown=REFUSE))).policy
    assert policy.outbound.exempt == ()


def modes(ports: Mapping[int, Any]) -> dict[int, Mode]:
    return {port: rule.mode for port, rule in ports.items()}
