"""Ranges of versions: what two sides make of each other's."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.versions import Side, Versions, no_common

RANGES = st.tuples(st.integers(1, 9), st.integers(1, 9)).map(lambda ends: Versions(min(ends), max(ends)))


@given(RANGES, RANGES)
def test_both_sides_come_to_the_highest_version_that_both_speak(one: Versions, other: Versions) -> None:
    both = set(range(one.lowest, one.highest + 1)) & set(range(other.lowest, other.highest + 1))
    assert one.common(other) == other.common(one) == max(both, default=None)


@given(RANGES)
def test_a_range_survives_the_wire(versions: Versions) -> None:
    assert Versions.from_json(json.loads(json.dumps(versions.to_json("hello"))), "hello") == versions


@given(st.integers(1, 9))
def test_who_still_speaks_version_1_says_what_the_first_release_looks_for(highest: int) -> None:
    assert Versions(1, highest).to_json("hello")["hello"] == 1
    assert Versions(1, 1).to_json("hello") == {"hello": 1}, "the very bytes of 0.1.0"


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from(["hello", "upTo"]), VALUES))
def test_anything_else_is_no_range(document: dict[str, Any]) -> None:
    try:
        versions = Versions.from_json(document, "hello")
    except (KeyError, ValueError):
        return
    assert 1 <= versions.lowest <= versions.highest


@given(RANGES, RANGES)
def test_the_one_with_the_lower_versions_is_too_old(one: Versions, other: Versions) -> None:
    if one.common(other) is None:
        sentence = no_common("the tunnel", Side("ada", one, "restart ada"), Side("bob", other, "restart bob"))
        old = "ada" if one.highest < other.highest else "bob"
        assert sentence.endswith(f"{old} is too old: restart {old}")


@pytest.mark.parametrize(("versions", "text"), [(Versions(2, 2), "2"), (Versions(1, 3), "1 to 3")])
def test_a_range_reads_as_a_person_writes_it(versions: Versions, text: str) -> None:
    assert str(versions) == text


def test_a_peer_cannot_make_the_sentence_long() -> None:
    side = Side("ada", Versions(1, 1), "restart ada", "9" * 4000)
    assert len(no_common("the tunnel", side, Side("bob", Versions(2, 2), ""))) < 200
