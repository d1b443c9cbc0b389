"""What the journal makes of connections for the directory: an edge, from their opening to their end."""

from dataclasses import replace
from typing import Any, Literal

from handfast_sidecar.directory.messages import Edge
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.traffic.connection import Connection, Protection
from handfast_sidecar.traffic.telemetry import Telemetry

PEER = SpiffeId.parse("spiffe://test.example/ns/web/sa/front")


class Tls:
    """What is told of a tunnel."""

    version, cipher, group = "TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519"


TUNNEL: Any = Tls()
FOREIGN = Protection("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519")


def telemetry() -> Telemetry:
    return Telemetry(Registry(), lambda: PEER)


def connection(direction: Literal["in", "out"] = "in", **facts: object) -> Connection:
    return replace(Connection(direction, "10.0.0.1", 5000, "10.0.0.2", 8080), **facts)  # type: ignore[arg-type]


def only(told: Telemetry) -> Edge:
    (edge,) = told.edges.edges()
    return edge


def test_an_edge_is_there_from_the_opening_on_and_its_bytes_from_the_end_on() -> None:
    told, carried = telemetry(), connection(peer=PEER, tunnel=TUNNEL, rule="MTLSPolicy shop/orders", audited="denied")
    told.connection_opened(carried)
    edge = only(told)
    assert (edge.peer, edge.port, edge.encrypted, edge.rule) == (str(PEER), 8080, True, "MTLSPolicy shop/orders")
    assert (edge.connections, edge.open, edge.audited) == (1, 1, {"denied": 1})
    carried.bytes_in, carried.bytes_out = 10, 20
    told.connection_over(carried)
    edge = only(told)
    assert (edge.connections, edge.open, edge.bytes_in, edge.bytes_out) == (1, 0, 10, 20)


def test_a_refused_connection_is_never_open() -> None:
    told = telemetry()
    told.connection_over(connection(refused=True, reason="plaintext_refused", rule="MTLSPolicy shop/strict"))
    edge = only(told)
    assert (edge.connections, edge.open, edge.refused) == (0, 0, {"plaintext_refused": 1})
    assert edge.last > 0


def test_one_that_is_refused_after_it_was_carried_is_no_longer_open() -> None:
    told, carried = telemetry(), connection()
    told.connection_opened(carried)
    carried.refused, carried.reason = True, "policy_changed"
    told.connection_over(carried)
    edge = only(told)
    assert (edge.connections, edge.open, edge.refused) == (1, 0, {"policy_changed": 1})


def test_one_that_ended_before_its_application_accepted_was_there() -> None:
    told = telemetry()
    told.connection_over(connection(peer=PEER, tunnel=TUNNEL, reason="peer_aborted"))
    assert (only(told).connections, only(told).open) == (1, 0)


def test_plaintext_from_this_pod_is_named_by_the_endpoint_that_it_went_to() -> None:
    told = telemetry()
    told.connection_opened(connection("out", destination="10.96.0.1", destination_port=80, endpoint="fd00::7:8080"))
    assert (only(told).peer, only(told).port) == ("fd00::7", 8080)


def test_what_was_refused_before_an_endpoint_was_chosen_is_named_as_it_was_dialled() -> None:
    told = telemetry()
    told.connection_over(connection("out", destination="10.96.0.1", refused=True, reason="no_endpoints"))
    assert (only(told).peer, only(told).port) == ("10.96.0.1", 8080)


def test_a_server_without_a_sidecar_that_speaks_mutual_tls_is_foreign_and_such_a_client_is_not() -> None:
    for direction, foreign in (("out", True), ("in", False)):
        told = telemetry()
        told.connection_opened(connection(direction, peer=PEER, protection=FOREIGN))  # type: ignore[arg-type]
        assert (only(told).encrypted, only(told).foreign) == (True, foreign)
