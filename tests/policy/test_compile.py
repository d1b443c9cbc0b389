"""Precedence: a port entry beats the workload, that the namespace, that the cluster; unset fields inherit."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from handfast_operator.policy.compile import CompiledPolicy, PolicySet, compile_policy
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_operator.resources.policies import AccessRule, Caller, ClusterMtlsPolicy, Foreign, MtlsPolicy, PolicySpec
from handfast_operator.resources.selectors import LabelSelector, parse_selector
from handfast_sidecar.policy.effective import EffectivePolicy, ForeignRule, Mode, ModeRule, TlsVersion

_numbers = count(1)
ORDERS = {"app": "orders"}


def selector(**labels: str) -> LabelSelector:
    parsed = parse_selector({"matchLabels": labels})
    assert parsed is not None
    return parsed


def namespaced(
    spec: PolicySpec, chosen: LabelSelector | None = None, created: str = "2026-01-01T00:00:00Z"
) -> MtlsPolicy:
    number = next(_numbers)
    return MtlsPolicy("shop", f"p{number}", f"uid-{number}", number, 1, created, chosen, spec)


def clusterwide(spec: PolicySpec, chosen: LabelSelector | None = None) -> ClusterMtlsPolicy:
    number = next(_numbers)
    return ClusterMtlsPolicy(f"c{number}", f"uid-{number}", number, 1, "2026-01-01T00:00:00Z", chosen, spec)


def compiled(*policies: MtlsPolicy | ClusterMtlsPolicy) -> CompiledPolicy:
    return compile_policy(
        "shop",
        ORDERS,
        {"team": "a"},
        PolicySet(
            tuple(each for each in policies if isinstance(each, ClusterMtlsPolicy)),
            {"shop": tuple(each for each in policies if isinstance(each, MtlsPolicy))},
        ),
        "cluster.local",
    )


def level(name: str, spec: PolicySpec) -> MtlsPolicy | ClusterMtlsPolicy:
    if name == "cluster":
        return clusterwide(spec)
    return namespaced(spec, selector(**ORDERS) if name == "workload" else None)


def test_without_any_policy_the_mode_is_permissive_and_a_leaf_lives_a_day() -> None:
    assert compiled() == CompiledPolicy(EffectivePolicy(), timedelta(hours=24))


@pytest.mark.parametrize(
    ("strong", "weak"), [("workload", "namespace"), ("workload", "cluster"), ("namespace", "cluster")]
)
@pytest.mark.parametrize("swapped", [False, True])
def test_the_stronger_level_wins_every_field(strong: str, weak: str, swapped: bool) -> None:
    winner = level(strong, PolicySpec(Mode.STRICT, {80: Mode.DISABLED}, timedelta(hours=1)))
    loser = level(weak, PolicySpec(Mode.DISABLED, {80: Mode.STRICT}, timedelta(hours=2)))
    result = compiled(*((loser, winner) if swapped else (winner, loser)))
    assert result.policy.default.mode is Mode.STRICT
    assert (result.policy.default.origin, result.policy.rule_for(80).mode) == (winner.origin, Mode.DISABLED)
    assert result.ttl == timedelta(hours=1)


@pytest.mark.parametrize(
    ("strong", "weak"), [("workload", "namespace"), ("workload", "cluster"), ("namespace", "cluster")]
)
def test_a_field_that_the_stronger_level_leaves_out_is_inherited(strong: str, weak: str) -> None:
    result = compiled(level(strong, PolicySpec(ttl=timedelta(hours=1))), level(weak, PolicySpec(Mode.STRICT)))
    assert (result.policy.default.mode, result.ttl) == (Mode.STRICT, timedelta(hours=1))


@pytest.mark.parametrize("weak", ["workload", "namespace", "cluster"])
def test_a_port_entry_of_any_level_beats_the_mode_of_the_strongest(weak: str) -> None:
    result = compiled(
        level("workload", PolicySpec(Mode.STRICT)), level(weak, PolicySpec(ports={9090: Mode.PERMISSIVE}))
    )
    assert result.policy.rule_for(9090).mode is Mode.PERMISSIVE
    assert result.policy.rule_for(80).mode is Mode.STRICT


@pytest.mark.parametrize(
    ("strong", "weak"), [("workload", "namespace"), ("workload", "cluster"), ("namespace", "cluster")]
)
def test_the_foreign_ports_are_those_of_the_strongest_level_that_names_any(strong: str, weak: str) -> None:
    winner = level(strong, PolicySpec(foreign=Foreign(frozenset({8443}))))
    loser = level(weak, PolicySpec(foreign=Foreign(frozenset({80, 8443}), TlsVersion.TLS_1_2)))
    assert compiled(loser, winner).policy.foreign == ForeignRule(frozenset({8443}), TlsVersion.TLS_1_3, winner.origin)
    silent = level(strong, PolicySpec(Mode.STRICT))
    assert compiled(loser, silent).policy.foreign == ForeignRule(
        frozenset({80, 8443}), TlsVersion.TLS_1_2, loser.origin
    )


def test_an_empty_list_of_foreign_ports_closes_what_a_weaker_level_opens() -> None:
    result = compiled(
        level("workload", PolicySpec(foreign=Foreign(frozenset()))),
        level("cluster", PolicySpec(foreign=Foreign(frozenset({8443})))),
    )
    assert result.policy == EffectivePolicy()


def test_foreign_ports_are_read_as_the_schema_lets_them_through() -> None:
    def read(spec: dict[str, object]) -> Foreign | None:
        meta = {"namespace": "shop", "name": "p", "uid": "u", "resourceVersion": "1", "creationTimestamp": "2026"}
        return parse_mtls_policy({"metadata": meta, "spec": spec}).spec.foreign

    assert read({"foreign": {"ports": [8443, 80]}}) == Foreign(frozenset({80, 8443}), TlsVersion.TLS_1_3)
    assert read({"foreign": {"ports": [], "minVersion": "1.2"}}) == Foreign(frozenset(), TlsVersion.TLS_1_2)
    assert read({"mode": "Strict"}) is None


def test_of_two_policies_of_one_level_the_older_wins_field_by_field() -> None:
    older = namespaced(PolicySpec(Mode.STRICT), created="2026-01-01T00:00:00Z")
    younger = namespaced(PolicySpec(Mode.DISABLED, ttl=timedelta(hours=3)), created="2026-02-01T00:00:00Z")
    result = compiled(younger, older)
    assert (result.policy.default.origin, result.ttl) == (older.origin, timedelta(hours=3))


def test_a_policy_of_another_workload_or_namespace_does_not_count() -> None:
    other = namespaced(PolicySpec(Mode.STRICT), selector(app="web"))
    elsewhere = clusterwide(PolicySpec(Mode.STRICT), selector(team="b"))
    assert compiled(other, elsewhere).policy == EffectivePolicy()


def test_the_life_of_a_leaf_stays_within_its_bounds() -> None:
    assert compiled(clusterwide(PolicySpec(ttl=timedelta(seconds=1)))).ttl == timedelta(minutes=5)
    assert compiled(clusterwide(PolicySpec(ttl=timedelta(days=365)))).ttl == timedelta(days=30)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, Mode.PERMISSIVE),
        ({"promotion": {"quietSince": "2026-03-01T12:00:00Z"}}, Mode.PERMISSIVE),
        ({"promotion": {"promotedAt": "2026-03-02T12:00:00Z"}}, Mode.STRICT),
    ],
    ids=["at first", "while its clock runs", "promoted"],
)
@pytest.mark.parametrize("parse", [parse_mtls_policy, parse_cluster_mtls_policy], ids=["namespaced", "clusterwide"])
def test_auto_is_permissive_until_its_status_says_that_it_is_promoted(
    parse: Callable[[dict[str, Any]], MtlsPolicy | ClusterMtlsPolicy], status: dict[str, Any], expected: Mode
) -> None:
    policy = parse({**raw_policy(mode="Auto", promoteAfter="1h30m"), "status": status})
    assert compiled(policy).policy.default == ModeRule(expected, policy.origin)
    assert policy.spec.promote_after == timedelta(minutes=90)


@pytest.mark.parametrize("field", ["allow", "deny"])
@pytest.mark.parametrize(
    "caller",
    [
        Caller("a b"),
        Caller(namespace="A B"),
        Caller(principal="spiffe://x/ns/*/sa/a"),
        Caller("a", ".."),
    ],
    ids=str,
)
def test_a_caller_that_came_past_the_schema_and_that_nobody_can_be_keeps_no_other_from_being_compiled(
    field: str, caller: Caller
) -> None:
    cart = Caller(service_account="cart")
    said: dict[str, Any] = {field: (AccessRule((caller, cart)), AccessRule((caller,)))}
    understood: dict[str, Any] = {field: (AccessRule((cart,)), AccessRule(()))}
    broken = namespaced(PolicySpec(**said))
    alone = replace(broken, spec=PolicySpec(**understood))
    assert compiled(broken) == compiled(alone)


def many(rules: int) -> tuple[AccessRule, ...]:
    return tuple(AccessRule((Caller(f"account-{number}", "shop"),)) for number in range(rules))


def test_lists_longer_than_a_sidecar_can_be_told_let_nobody_in() -> None:
    allowing = namespaced(PolicySpec(allow=many(10)), selector(**ORDERS))
    denying = [namespaced(PolicySpec(deny=many(1500)), created=f"2026-01-0{day}T00:00:00Z") for day in (1, 2, 3)]
    policy = compiled(allowing, *denying).policy
    assert policy.allow is not None
    assert (policy.allow.rules.rules, policy.deny.rules) == ((), ())
    assert policy.allow.origin == denying[2].origin, "with which it became too much"
    assert len(compiled(allowing, *denying[:2]).policy.deny.rules) == 3000


def test_the_longest_lists_that_are_told_fit_into_a_secret_and_a_line_of_the_directory() -> None:
    longest = 0
    for rules in range(1000, 6000, 500):
        policy = compiled(namespaced(PolicySpec(deny=many(rules)))).policy
        longest = max(longest, len(json.dumps(policy.to_json())))
    assert 300_000 < longest < 900_000


def test_auto_waits_a_day_when_it_does_not_say_for_how_long() -> None:
    assert parse_mtls_policy(raw_policy(mode="Auto")).spec.promote_after == timedelta(hours=24)


def test_a_mode_set_by_hand_is_that_mode_whatever_the_status_still_says() -> None:
    promoted = {"promotion": {"promotedAt": "2026-03-02T12:00:00Z"}}
    policy = parse_mtls_policy({**raw_policy(mode="Permissive"), "status": promoted})
    assert compiled(policy).policy.default.mode is Mode.PERMISSIVE
    assert policy.spec.promote_after is None


def raw_policy(**spec: str) -> dict[str, Any]:
    number = next(_numbers)
    metadata = {"namespace": "shop", "name": f"p{number}", "uid": f"uid-{number}", "resourceVersion": str(number)}
    return {"metadata": {**metadata, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec}
