"""A replica's view on its way to the controller: all of it, then what changed, and never half of it."""

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.evidence.changes import MAX_LINE, PORTION, Hearing, Telling
from handfast_operator.evidence.view import EdgeView, EvidenceView, Party, PodReport
from handfast_sidecar.errors import BadInput

ORDERS = Party("shop", "deployment/orders", "spiffe://cluster.local/ns/shop/sa/orders")


def edge(number: int = 0, connections: int = 1, **more: Any) -> EdgeView:
    return EdgeView(Party("", f"10.0.0.{number}"), ORDERS, 8080, False, connections, **more)


def said(revision: int = 1) -> PodReport:
    return PodReport("shop/orders-1", ORDERS.identity, 9.0, "ab", "2026-01-02T00:00:00Z", "cd", revision)


def view(at: float, *edges: EdgeView, **pods: PodReport) -> EvidenceView:
    return EvidenceView(at, edges, pods, {"one": at})


class Wire:
    """Both ends."""

    def __init__(self) -> None:
        self.telling, self.hearing = Telling(), Hearing("one")

    def told(self, now: EvidenceView) -> list[dict[str, Any]]:
        """The lines, and the other end has the same view after the last of them, and none before."""
        lines = list(self.telling.lines(now))
        *before, last = [self.hearing.take(line) for line in lines]
        assert last is not None
        assert before == [None] * len(before)
        assert {each.key: each for each in last.edges} == {each.key: each for each in now.edges}
        assert (last.at, last.pods, last.replicas) == (now.at, now.pods, now.replicas)
        return [json.loads(line) for line in lines]


def test_the_first_round_is_everything() -> None:
    (line,) = Wire().told(view(1.0, edge(1), edge(2), u=said()))
    assert (len(line["edges"]), list(line["pods"])) == (2, ["u"])


def test_later_rounds_are_what_changed_and_what_is_gone() -> None:
    wire = Wire()
    wire.told(view(1.0, edge(1), edge(2), edge(3), u=said(), v=said()))
    (line,) = wire.told(view(2.0, edge(1), edge(2, 5), u=said(2)))
    assert [each["connections"] for each in line["edges"]] == [5]
    assert (len(line["goneEdges"]), list(line["pods"]), line["gonePods"]) == (1, ["u"], ["v"])


def test_a_round_without_news_is_a_sign_of_life() -> None:
    wire = Wire()
    wire.told(view(1.0, edge(open=1, last_seen=1.0, last_carried=1.0)))
    assert wire.told(view(2.0, edge(open=1, last_seen=2.0, last_carried=2.0))) == [{"version": 2, "at": 2.0}]


def test_much_comes_in_portions_that_are_one_view_together() -> None:
    wire = Wire()
    edges = [edge(number) for number in range(3 * PORTION)]
    assert len(wire.told(view(1.0, *edges))) == 3
    assert len(wire.told(view(2.0))) == 3


def test_a_line_of_the_longest_names_and_reasons_is_short_enough() -> None:
    longest = Party("n" * 63, "n" * 2048, "i" * 2048)
    reasons = {f"{'r' * 60}{number:04}": 2**62 for number in range(33)}
    big = EdgeView(longest, longest, 65535, True, 2**62, 2**62, 2**62, 1e9, reasons, reasons, "r" * 400, 1e10, 1e10)
    edges = [replace(big, port=number) for number in range(PORTION)]
    assert max(map(len, Telling().lines(view(1.0, *edges)))) < MAX_LINE


NAMES = st.sampled_from("abc")
PARTIES = st.builds(Party, NAMES, NAMES)
COUNTS = st.integers(0, 3)
VIEWS = st.builds(
    lambda edges, pods: EvidenceView(1.0, tuple({each.key: each for each in edges}.values()), pods, {"one": 1.0}),
    st.lists(
        st.builds(
            EdgeView,
            PARTIES,
            PARTIES,
            COUNTS,
            st.booleans(),
            COUNTS,
            COUNTS,
            last_seen=st.just(1.0),
            last_carried=st.just(1.0),
        ),
        max_size=6,
    ),
    st.dictionaries(NAMES, st.builds(said, COUNTS), max_size=3),
)


@given(st.lists(VIEWS, min_size=1, max_size=5))
def test_whatever_changes_the_other_end_has_it(views: list[EvidenceView]) -> None:
    wire = Wire()
    for each in views:
        wire.told(each)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["version", "at", "edges", "pods", "goneEdges", "gonePods", "more"]


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES), st.booleans())
def test_a_line_with_anything_in_its_fields_is_read_or_refused(document: dict[str, Any], versioned: bool) -> None:
    if versioned:
        document = {"at": 1.0, **document, "version": 2}
    with contextlib.suppress(BadInput):
        Hearing("one").take(json.dumps(document).encode())


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_refused(line: bytes) -> None:
    with pytest.raises(BadInput):
        Hearing("one").take(line)


def test_another_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(BadInput, match="the reader is too old: finish the upgrade"):
        Hearing("one").take(b'{"version":3,"at":1}')
    with pytest.raises(BadInput, match="the directory is too old: finish the upgrade"):
        Hearing("one").take(b'{"version":1,"at":1}')
