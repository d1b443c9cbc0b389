from handfast_sidecar.directory.codec import decode_from_sidecar, encode
from handfast_sidecar.directory.messages import Edge
from handfast_sidecar.observe.evidence import MAX_EDGES, MAX_PLAINTEXT_EDGES, EdgeTable, report
from support.pki import TestAuthority, plain_config

PEER = "spiffe://test.example/ns/web/sa/front"


def test_an_edge_is_counted_where_it_was_looked_up() -> None:
    table = EdgeTable()
    counts = table.edge("in", PEER, 8080, encrypted=True)
    counts.connections += 1
    counts.bytes_in += 10
    table.edge("in", PEER, 8080, encrypted=True).refuse("denied")
    assert table.edges() == (Edge("in", PEER, 8080, True, 1, 10, 0, {"denied": 1}),)


def test_the_table_is_bounded_and_the_rest_is_one_peer() -> None:
    table = EdgeTable()
    for number in range(MAX_EDGES + 100):
        table.edge("in", f"{PEER}-{number}", 8080, encrypted=True).connections += 1
    edges = table.edges()
    assert len(edges) == MAX_EDGES + 1
    assert edges[-1] == Edge("in", "other", 0, True, 100)


def test_addresses_cannot_crowd_out_identities() -> None:
    table = EdgeTable()
    for number in range(10 * MAX_EDGES):
        table.edge("in", f"10.0.{number // 256}.{number % 256}", 8080, encrypted=False).connections += 1
    table.edge("in", PEER, 8080, encrypted=True).connections += 1
    edges = table.edges()
    assert len(edges) == MAX_PLAINTEXT_EDGES + 2
    assert Edge("in", PEER, 8080, True, 1) in edges


def test_reasons_are_bounded_too() -> None:
    counts = EdgeTable().edge("in", PEER, 8080, encrypted=True)
    for number in range(100):
        counts.refuse(str(number))
    assert counts.refused["other"] == 68


def test_a_report_is_a_message_of_the_directory_protocol() -> None:
    material = TestAuthority("test.example").issue().material(plain_config())
    table = EdgeTable()
    table.edge("out", PEER, 443, encrypted=True).connections += 1
    message = report(material, 7, table.edges)
    assert decode_from_sidecar(encode(message)) == message
    assert (message.serial, message.bundle) == (material.leaf.serial, material.fingerprint)
    assert message.not_after == material.leaf.not_after.isoformat().replace("+00:00", "Z")
