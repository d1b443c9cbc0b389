"""Evidence of several replicas is one: counts add up, and the newest report of a pod holds."""

from typing import Any

import pytest

from handfast_operator.evidence.view import EdgeView, EvidenceView, Party, PodReport, from_json, merge, to_json
from handfast_sidecar.errors import BadInput

CART = Party("shop", "serviceaccount/cart", "spiffe://cluster.local/ns/shop/sa/cart")
ORDERS = Party("shop", "deployment/orders", "spiffe://cluster.local/ns/shop/sa/orders")


def edge(connections: int = 1, last_seen: float = 100.0, **more: Any) -> EdgeView:
    return EdgeView(CART, ORDERS, 8080, True, connections, last_seen=last_seen, **more)


def report(at: float, revision: int) -> PodReport:
    return PodReport("shop/orders-1", ORDERS.identity, at, "ab", "2026-01-02T00:00:00Z", "cd", revision)


def test_what_two_replicas_counted_of_one_edge_adds_up() -> None:
    one = EvidenceView(10, (edge(3, 100, refused={"denied": 1}, rule="MTLSPolicy shop/old", per_second=0.5),))
    other = EvidenceView(11, (edge(4, 200, refused={"denied": 2, "limit": 1}, rule="MTLSPolicy shop/new", open=2),))
    assert merge([one, other]) == EvidenceView(
        11,
        (edge(7, 200, refused={"denied": 3, "limit": 1}, rule="MTLSPolicy shop/new", open=2, per_second=0.5),),
    )


def test_a_pod_that_moved_to_another_replica_is_told_of_once_by_its_newest_report() -> None:
    merged = merge([EvidenceView(10, pods={"u": report(9, 7)}), EvidenceView(10, pods={"u": report(5, 6)})])
    assert merged.pods == {"u": report(9, 7)}


def test_a_view_says_whose_it_is_and_what_they_last_said() -> None:
    views = [EvidenceView(10, replicas={"a": 10.0}), EvidenceView(12, replicas={"b": 12.0})]
    assert merge(views).replicas == {"a": 10.0, "b": 12.0}


def test_when_something_was_last_carried_is_the_latest_of_both() -> None:
    merged = merge([EvidenceView(1, (edge(last_carried=50.0),)), EvidenceView(1, (edge(last_carried=40.0),))])
    assert merged.edges[0].last_carried == 50.0


def test_plaintext_and_encrypted_traffic_are_two_edges() -> None:
    plain = EdgeView(Party("shop", "deployment/cart"), ORDERS, 8080, False)
    assert len(merge([EvidenceView(1, (edge(), plain))]).edges) == 2


def test_a_view_survives_its_json() -> None:
    edges = (edge(3, 99.25, audited={"denied": 4}, bytes=10, open=1, last_carried=98.5),)
    view = EvidenceView(12.5, edges, {"u": report(9, 7)}, {"handfast-directory-1": 12.5})
    assert from_json(to_json(view)) == view


@pytest.mark.parametrize("document", [None, [], {}, {"version": 1}, {"version": 2, "at": 1, "edges": [{}], "pods": {}}])
def test_what_is_no_evidence_is_refused_with_a_sentence(document: object) -> None:
    with pytest.raises(BadInput, match="evidence"):
        from_json(document)
