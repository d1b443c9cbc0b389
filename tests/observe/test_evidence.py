from handfast_sidecar.directory.codec import decode_from_sidecar, encode
from handfast_sidecar.directory.messages import Edge
from handfast_sidecar.observe.evidence import MAX_EDGES, MAX_PLAINTEXT_EDGES, EdgeTable, report
from support.pki import TestAuthority, plain_config

PEER = "spiffe://test.example/ns/web/sa/front"


def test_an_edge_is_counted_where_it_was_looked_up() -> None:
    table = EdgeTable()
    counts = table.edge("in", PEER, 8080, encrypted=True)
    counts.opened(100.0, "MTLSPolicy shop/orders")
    counts.closed(100.5, 10, 20)
    table.edge("in", PEER, 8080, encrypted=True).refuse("denied", 101.0, "MTLSPolicy shop/other")
    assert table.edges() == (
        Edge("in", PEER, 8080, True, 1, 10, 20, {"denied": 1}, last=101.0, rule="MTLSPolicy shop/other"),
    )


def test_a_connection_is_seen_while_it_is_open() -> None:
    table = EdgeTable()
    counts = table.edge("in", "10.0.0.9", 8080, encrypted=False)
    counts.opened(100.0)
    assert table.edges() == (Edge("in", "10.0.0.9", 8080, False, connections=1, open=1, last=100.0),)
    counts.closed(200.0, 10, 20)
    assert table.edges() == (Edge("in", "10.0.0.9", 8080, False, 1, 10, 20, last=200.0),)


def test_what_a_policy_only_audits_is_told_by_its_reason() -> None:
    table = EdgeTable()
    table.edge("in", PEER, 8080, encrypted=True).opened(1.0, "MTLSPolicy shop/orders", "denied")
    (edge,) = table.edges()
    assert (edge.connections, edge.audited, edge.refused) == (1, {"denied": 1}, {})


def test_a_foreign_server_is_another_edge_than_a_meshed_one() -> None:
    table = EdgeTable()
    table.edge("out", PEER, 443, encrypted=True).opened(1.0)
    table.edge("out", PEER, 443, encrypted=True, foreign=True).opened(1.0)
    assert [each.foreign for each in table.edges()] == [False, True]


def test_the_table_is_bounded_and_the_rest_is_one_peer() -> None:
    table = EdgeTable()
    for number in range(MAX_EDGES + 100):
        table.edge("in", f"{PEER}-{number}", 8080, encrypted=True).opened(1.0)
    edges = table.edges()
    assert len(edges) == MAX_EDGES + 1
    assert edges[-1] == Edge("in", "other", 0, True, 100, open=100, last=1.0)


def test_addresses_cannot_crowd_out_identities() -> None:
    table = EdgeTable()
    for number in range(10 * MAX_EDGES):
        table.edge("in", f"10.0.{number // 256}.{number % 256}", 8080, encrypted=False).opened(1.0)
    table.edge("in", PEER, 8080, encrypted=True).opened(1.0)
    edges = table.edges()
    assert len(edges) == MAX_PLAINTEXT_EDGES + 2
    assert Edge("in", PEER, 8080, True, 1, open=1, last=1.0) in edges


def test_reasons_are_bounded_too() -> None:
    counts = EdgeTable().edge("in", PEER, 8080, encrypted=True)
    for number in range(100):
        counts.refuse(str(number), 1.0)
        counts.opened(1.0, audited=str(number))
    assert counts.refused["other"] == counts.audited["other"] == 68


def test_a_report_is_a_message_of_the_directory_protocol() -> None:
    material = TestAuthority("test.example").issue().material(plain_config())
    table = EdgeTable()
    table.edge("out", PEER, 443, encrypted=True).opened(1.0)
    message = report(material, 7, table.edges, ("aa", "bb"))
    assert decode_from_sidecar(encode(message)) == message
    assert (message.serial, message.bundle) == (material.leaf.serial, material.fingerprint)
    assert message.not_after == material.leaf.not_after.isoformat().replace("+00:00", "Z")
