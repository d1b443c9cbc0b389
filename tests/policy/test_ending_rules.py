"""Rules that end: they let in until then, by the time of day that the sidecar reads; who has none pays nothing."""

from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.errors import BadInput
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.authorisation import Rule, RuleSet, Source
from handfast_sidecar.policy.effective import AllowRules, EffectivePolicy
from handfast_sidecar.policy.principals import Principal
from handfast_sidecar.policy.verdict import tunnel_verdict

FRONT = SpiffeId.parse("spiffe://cluster.local/ns/web/sa/front")
END = 1000
GRANTED = Rule("AccessGrant shop/g", (Source(Principal(str(FRONT))),), None, END)
POLICY = EffectivePolicy(allow=AllowRules(RuleSet([GRANTED]), "MTLSPolicy shop/orders"))


def no_clock() -> NoReturn:
    raise AssertionError("the clock is read")


@pytest.mark.parametrize(("now", "let_in"), [(0.0, True), (999.9, True), (1000.0, False), (5e9, False)])
def test_a_rule_lets_in_until_its_end_and_not_at_it(now: float, let_in: bool) -> None:
    verdict = tunnel_verdict(POLICY, FRONT, "cluster.local", 80, clock=lambda: now)
    assert verdict.allowed is let_in
    assert verdict.rule == ("AccessGrant shop/g" if let_in else "MTLSPolicy shop/orders")


def test_where_no_rule_ends_no_clock_is_read() -> None:
    rules = RuleSet([Rule("p", (Source(Principal(str(FRONT))),), frozenset({80}))])
    assert rules.origin_for(FRONT, 80, clock=no_clock) == "p"
    assert not rules.origin_for(FRONT, 81, clock=no_clock)


def test_whoever_is_let_in_for_good_costs_no_look_at_the_clock() -> None:
    assert RuleSet([GRANTED, Rule("p")]).origin_for(FRONT, 80, clock=no_clock) == "p"


def test_the_next_end_is_of_those_that_are_still_to_come() -> None:
    rules = AllowRules(RuleSet([Rule("a", until=10), Rule("b", until=20), Rule("c")]), "p")
    assert [rules.next_expiry(now) for now in (0, 9.5, 10, 20)] == [10, 10, 20, None]


RULES = st.lists(
    st.builds(
        Rule,
        st.sampled_from(["x", "y"]),
        st.sampled_from([None, (), (Source(Principal(str(FRONT))),)]),
        st.one_of(st.none(), st.frozensets(st.sampled_from([80, 81]), max_size=2)),
        st.one_of(st.none(), st.integers(0, 5)),
    ),
    max_size=6,
)


@given(RULES, st.sampled_from([80, 81, 82]), st.integers(0, 6))
def test_a_set_with_ends_answers_as_the_rules_that_are_left(rules: list[Rule], port: int, now: int) -> None:
    left = [each for each in rules if each.until is None or each.until > now]
    meant = {
        each.origin
        for each in left
        if (each.sources is None or each.sources) and (each.ports is None or port in each.ports)
    }
    found = RuleSet(rules).origin_for(FRONT, port, clock=lambda: now)
    assert found in meant if meant else found == ""


@given(RULES)
def test_what_is_written_is_read_as_the_same_rules(rules: list[Rule]) -> None:
    assert RuleSet.from_json(RuleSet(rules).to_json(), "allow", may_end=True) == RuleSet(rules)


@pytest.mark.parametrize("until", [None, "1000", 1.5, True, -1, 10**30])
def test_an_end_that_cannot_be_read_is_no_rule_without_an_end(until: object) -> None:
    with pytest.raises(BadInput, match="until"):
        RuleSet.from_json([{"rule": "g", "until": until}], "allow", may_end=True)


def test_a_rule_that_denies_does_not_end() -> None:
    document = EffectivePolicy().to_json() | {"deny": [{"rule": "p", "until": 1000}]}
    with pytest.raises(BadInput, match="a rule that denies does not end"):
        EffectivePolicy.from_json(document)


def test_the_end_of_a_rule_reaches_the_sidecar() -> None:
    assert EffectivePolicy.from_json(POLICY.to_json()) == POLICY
