"""Which rule means whom: what is said, what is left out, and the same answer as reading every rule one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.errors import BadInput
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.authorisation import Rule, RuleSet, Source
from handfast_sidecar.policy.principals import Principal

CART = SpiffeId.parse("spiffe://cluster.local/ns/shop/sa/cart")
WEB = SpiffeId.parse("spiffe://cluster.local/ns/web/sa/front")
KEY = "ab" * 32


def source(pattern: str = "", spki: str = "") -> Source:
    return Source(Principal.parse(pattern) if pattern else None, spki)


@pytest.mark.parametrize(
    ("rule", "means_cart_at_80"),
    [
        (Rule("p"), True),
        (Rule("p", sources=()), False),
        (Rule("p", ports=frozenset()), False),
        (Rule("p", ports=frozenset({80})), True),
        (Rule("p", ports=frozenset({81})), False),
        (Rule("p", (source(str(CART)),)), True),
        (Rule("p", (source(str(WEB)),)), False),
        (Rule("p", (source(str(WEB)), source("spiffe://cluster.local/ns/shop/*"))), True),
        (Rule("p", (source(spki=KEY),)), True),
        (Rule("p", (source(spki="cd" * 32),)), False),
        (Rule("p", (source(str(WEB), KEY),)), False),
        (Rule("p", (source(str(CART), KEY),), frozenset({80})), True),
    ],
)
def test_left_out_means_all_and_empty_means_none(rule: Rule, means_cart_at_80: bool) -> None:
    assert bool(RuleSet([rule]).origin_for(CART, 80, KEY)) is means_cart_at_80


def test_a_key_that_nobody_showed_matches_no_pin() -> None:
    assert not RuleSet([Rule("p", (source(spki=KEY),))]).origin_for(CART, 80, "")


def test_the_object_whose_rule_decides_is_named() -> None:
    rules = RuleSet([Rule("MTLSPolicy shop/a", (source(str(WEB)),)), Rule("MTLSPolicy shop/b", (source(str(CART)),))])
    assert rules.origin_for(CART, 80) == "MTLSPolicy shop/b"


NAMES = st.sampled_from(["a", "b", "c"])
IDS = st.builds(lambda n, s: SpiffeId.parse(f"spiffe://td/ns/{n}/sa/{s}"), NAMES, NAMES)
PATTERNS = st.one_of(
    IDS.map(str), NAMES.map(lambda n: f"spiffe://td/ns/{n}/*"), st.sampled_from(["spiffe://td/*", "spiffe://td/ns/*"])
)
SOURCES = st.builds(source, st.one_of(st.just(""), PATTERNS), st.sampled_from(["", KEY])).filter(
    lambda each: each != Source()
)
RULES = st.builds(
    Rule,
    st.sampled_from(["x", "y"]),
    st.one_of(st.none(), st.lists(SOURCES, max_size=3).map(tuple)),
    st.one_of(st.none(), st.frozensets(st.sampled_from([80, 81]), max_size=2)),
)


def means(rule: Rule, peer: SpiffeId, port: int, spki: str) -> bool:
    """The same, read one by one."""
    if rule.ports is not None and port not in rule.ports:
        return False
    return rule.sources is None or any(
        (each.principal is None or each.principal.matches(peer)) and (not each.spki or each.spki == spki)
        for each in rule.sources
    )


@given(st.lists(RULES, max_size=6), IDS, st.sampled_from([80, 81, 82]), st.sampled_from(["", KEY, "cd" * 32]))
def test_the_index_answers_as_the_rules_do(rules: list[Rule], peer: SpiffeId, port: int, spki: str) -> None:
    found = RuleSet(rules).origin_for(peer, port, spki)
    meant = {each.origin for each in rules if means(each, peer, port, spki)}
    assert found in meant if meant else found == ""


@given(st.lists(RULES, max_size=4))
def test_what_is_written_is_read_as_the_same_rules(rules: list[Rule]) -> None:
    assert RuleSet.from_json(RuleSet(rules).to_json(), "allow") == RuleSet(rules)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [{}],
        [{"rule": ""}],
        [{"rule": "p", "from": {}}],
        [{"rule": "p", "from": [{}]}],
        [{"rule": "p", "from": [{"namespace": "shop"}]}],
        [{"rule": "p", "from": [{"principal": "spiffe://td/*/sa"}]}],
        [{"rule": "p", "from": [{"spkiSHA256": "AB" * 32}]}],
        [{"rule": "p", "ports": [0]}],
        [{"rule": "p", "ports": ["80"]}],
    ],
)
def test_a_rule_that_cannot_be_read_is_no_rule_less(document: object) -> None:
    with pytest.raises(BadInput, match="allow"):
        RuleSet.from_json(document, "allow")
