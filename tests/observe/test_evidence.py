from handfast_sidecar.directory.codec import decode_from_sidecar, encode
from handfast_sidecar.directory.messages import Edge
from handfast_sidecar.observe.evidence import MAX_EDGES, MAX_PLAINTEXT_EDGES, ROOM_EVERY_S, EdgeTable, report
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


DAY = 24 * 3600.0


def crowded(now: float = DAY) -> EdgeTable:
    """Full; of the first two edges one is open, and both were last used a day before now."""
    table = EdgeTable()
    table.edge("in", "spiffe://test.example/open", 80, encrypted=True).opened(now - DAY - 1)
    idle = table.edge("in", "spiffe://test.example/idle", 80, encrypted=True)
    idle.opened(now - DAY - 2)
    idle.closed(now - DAY - 1, 0, 0)
    for number in range(MAX_EDGES):
        table.edge("in", f"{PEER}-{number}", 80, encrypted=True).refuse("denied", now - DAY)
    return table


def peers(table: EdgeTable) -> set[str]:
    return {edge.peer.rpartition("/")[2] for edge in table.edges()}


def test_when_there_was_no_room_what_nobody_used_for_a_day_makes_some() -> None:
    table = crowded()
    assert {"idle", "other"} <= peers(table)
    assert table.make_room(DAY)
    assert "idle" not in peers(table)
    assert {"open", "front-0", "other"} <= peers(table)
    table.edge("in", "spiffe://test.example/new", 80, encrypted=True).opened(DAY)
    assert "new" in peers(table)


def test_nothing_is_forgotten_while_there_is_room() -> None:
    table = EdgeTable()
    table.edge("in", PEER, 80, encrypted=True).refuse("denied", 0.0)
    assert not table.make_room(100 * DAY)
    assert len(table.edges()) == 1


def test_room_is_made_at_most_once_an_hour() -> None:
    table = crowded()
    assert table.make_room(DAY)
    for name in "ab":
        table.edge("in", f"spiffe://test.example/{name}", 80, encrypted=True).refuse("denied", DAY)
    assert not table.make_room(DAY + ROOM_EVERY_S - 1)
    assert table.make_room(DAY + ROOM_EVERY_S)
    assert peers(table) >= {"open", "a", "other"}
    assert "front-0" not in peers(table)


def test_room_of_plaintext_peers_is_for_others_again() -> None:
    table = EdgeTable()
    for number in range(MAX_EDGES):
        table.edge("in", f"10.0.{number // 256}.{number % 256}", 80, encrypted=False).refuse("denied", 0.0)
    assert table.make_room(2 * DAY)
    for number in range(MAX_EDGES):
        table.edge("in", f"10.1.{number // 256}.{number % 256}", 80, encrypted=False).refuse("denied", 2 * DAY)
    assert len(table.edges()) == MAX_PLAINTEXT_EDGES + 1


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
