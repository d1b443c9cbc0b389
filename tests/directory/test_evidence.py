"""What sidecars reported, kept by the pod of their leaf."""

from datetime import UTC, datetime

from handfast_operator.directory.evidence import Evidence
from handfast_operator.directory.session import Peer
from handfast_sidecar.directory.messages import Edge, Report
from handfast_sidecar.identity.spiffe import SpiffeId


def peer(uid: str) -> Peer:
    identity = SpiffeId.parse("spiffe://test.example/ns/shop/sa/cart")
    return Peer(uid, f"shop/{uid}", identity, datetime(2030, 1, 1, tzinfo=UTC))


def report(connections: int) -> Report:
    edges = (Edge("in", "10.0.0.9", 80, encrypted=False, connections=connections),)
    return Report("1f", "2030-01-01T00:00:00Z", "aa", 3, edges)


def test_only_the_last_report_of_a_pod_is_kept() -> None:
    evidence = Evidence(clock=lambda: 1.5)
    evidence.take(peer("a"), report(1))
    evidence.take(peer("a"), report(2))
    kept = evidence.of("a")
    assert kept is not None
    assert (len(evidence), kept.report, kept.at) == (1, report(2), 1.5)


def test_the_longest_silent_pod_makes_room() -> None:
    evidence = Evidence(limit=2)
    for uid in "abac":
        evidence.take(peer(uid), report(1))
    assert (evidence.of("b"), len(evidence)) == (None, 2)


def test_totals_are_over_all_pods() -> None:
    evidence = Evidence()
    evidence.take(peer("a"), report(1))
    evidence.take(peer("b"), report(2))
    assert evidence.total("in", False) == 3
    assert evidence.total("out", True) == 0


def test_the_controller_reads_it_as_json() -> None:
    evidence = Evidence(clock=lambda: 2.0)
    evidence.take(peer("a"), report(1))
    document = evidence.to_json()["pods"]["a"]
    assert document["identity"] == "spiffe://test.example/ns/shop/sa/cart"
    assert (document["revision"], document["edges"][0]["connections"]) == (3, 1)
