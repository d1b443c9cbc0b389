"""An `allow` that is called covered lets nobody in: asked of the sidecar's own rules, for every peer and key."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handfast_operator.policy.coverage import covered_by
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.authorisation import Rule, RuleSet, Source
from handfast_sidecar.policy.principals import Principal

NAMES, PORTS, KEYS = ("a", "b"), (80, 81), ("ab" * 32, "cd" * 32)
PEERS = [SpiffeId.parse(f"spiffe://td/ns/{namespace}/sa/{name}") for namespace in NAMES for name in NAMES]
PATTERNS = [*map(str, PEERS), "spiffe://td/ns/a/*", "spiffe://td/ns/b/sa/*", "spiffe://td/*"]
SOURCES = st.builds(
    lambda pattern, key: Source(Principal.parse(pattern) if pattern else None, key),
    st.sampled_from(["", *PATTERNS]),
    st.sampled_from(["", *KEYS]),
).filter(lambda each: each != Source())
RULES = st.builds(
    Rule,
    st.sampled_from(["x", "y"]),
    st.none() | st.lists(SOURCES, max_size=3).map(tuple),
    st.none() | st.frozensets(st.sampled_from(PORTS), max_size=2),
)


@given(RULES, st.lists(RULES, max_size=4))
@example(Rule("x", (Source(Principal.parse(PATTERNS[0])),)), [Rule("y", None, frozenset({80}))])
def test_what_is_called_covered_lets_nobody_in(allowed: Rule, denied: list[Rule]) -> None:
    if not covered_by(allowed, denied):
        return
    lets, denies = RuleSet([allowed]), RuleSet(denied)
    for peer in PEERS:
        for port in (*PORTS, 82):
            for key in (*KEYS, "ef" * 32):
                assert denies.origin_for(peer, port, key) or not lets.origin_for(peer, port, key)


def source(pattern: str) -> Source:
    return Source(Principal.parse(pattern))


@pytest.mark.parametrize(
    ("allowed", "denied", "by"),
    [
        (Rule("a", (source(PATTERNS[0]),)), Rule("d", (source("spiffe://td/ns/a/*"),)), "d"),
        (Rule("a", (source("spiffe://td/ns/a/*"),)), Rule("d", (source("spiffe://td/*"),)), "d"),
        (Rule("a", (source("spiffe://td/ns/a/*"),)), Rule("d", (source(PATTERNS[0]),)), ""),
        (Rule("a", (source(PATTERNS[0]),), frozenset({80})), Rule("d", None, frozenset({80, 81})), "d"),
        (Rule("a", (source(PATTERNS[0]),)), Rule("d", None, frozenset({80})), ""),
        (Rule("a"), Rule("d"), "d"),
        (Rule("a"), Rule("d", (source("spiffe://td/*"),)), ""),
        (Rule("a", ()), Rule("d"), ""),
        (Rule("a", (source(PATTERNS[0]), source(PATTERNS[3]))), Rule("d", (source(PATTERNS[0]),)), ""),
    ],
)
def test_who_covers_what(allowed: Rule, denied: Rule, by: str) -> None:
    assert covered_by(allowed, [denied]) == by
