"""A sidecar's reports over several streams: nothing is told as new twice, and every line can be read."""

from dataclasses import replace

from handfast_sidecar.directory.codec import decode_from_sidecar, encode
from handfast_sidecar.directory.messages import MAX_SIDECAR_LINE, Edge, Report
from handfast_sidecar.directory.reporting import Reporting, lines
from handfast_sidecar.observe.evidence import MAX_EDGES, MAX_REASONS, EdgeTable


def report(connections: int) -> Report:
    return Report("1f", "", "", 1, (Edge("in", "10.0.0.9", 80, False, connections),))


def test_the_first_stream_begins_with_the_first_report() -> None:
    reporting = Reporting(lambda: report(3))
    assert list(reporting.begin()) == []
    (first,) = reporting.next()
    assert (first.number, first.repeated, first.edges) == (1, False, report(3).edges)


def test_a_later_stream_begins_with_what_was_told_last_and_not_with_what_is_true_now() -> None:
    counts = iter((3, 5, 9))
    reporting = Reporting(lambda: report(next(counts)))
    told = [*reporting.next(), *reporting.next()][-1]
    (repeated,) = reporting.begin()
    assert (repeated.number, repeated.repeated, repeated.edges) == (2, True, told.edges)
    (now,) = reporting.next()
    assert (now.number, now.repeated, now.edges) == (3, False, report(9).edges)


def test_every_run_of_a_proxy_has_a_name_of_its_own() -> None:
    (one,), (other,) = Reporting(lambda: report(1)).next(), Reporting(lambda: report(1)).next()
    assert one.run
    assert one.run != other.run


def test_when_edges_are_forgotten_what_is_left_begins_a_new_run() -> None:
    kept, gone = Edge("in", "10.0.0.9", 80, False, 3), Edge("in", "10.0.0.8", 80, False, 7)
    edges = [kept, gone]

    def make_room() -> bool:
        room = gone in edges
        if room:
            edges.remove(gone)
        return room

    reporting = Reporting(lambda: replace(report(0), edges=tuple(edges)), make_room)
    whole, left = reporting.next()
    assert (whole.number, whole.repeated, whole.edges) == (1, False, (kept, gone))
    assert (left.number, left.repeated, left.edges) == (1, True, (kept,))
    assert left.run != whole.run
    assert list(reporting.begin()) == [left]
    (after,) = reporting.next()
    assert (after.run, after.number, after.repeated) == (left.run, 2, False)


def full_table(peer: str) -> EdgeTable:
    table = EdgeTable()
    for number in range(2 * MAX_EDGES):
        counts = table.edge("in", f"{peer}{number}", 65535, encrypted=True)
        counts.opened(1767323045.123, f"ClusterMTLSPolicy {'x' * 63}", "limit_client_connections")
        counts.closed(1767323045.123, 1 << 40, 1 << 40)
        for reason in range(MAX_REASONS if number < 20 else 1):
            counts.refuse(f"handshake_some_reason_{reason}", 1767323045.123)
    return table


def test_a_full_table_of_usual_names_is_one_line() -> None:
    whole = Report(
        "1f" * 10, "2030-01-01T00:00:00Z", "ab" * 32, 1, full_table("spiffe://cluster.local/ns/a/sa/b").edges()
    )
    assert list(lines(whole)) == [whole]


def test_a_full_table_of_the_longest_names_is_told_in_lines_that_are_read_and_nothing_is_left_out() -> None:
    whole = Report("1f" * 10, "2030-01-01T00:00:00Z", "ab" * 32, 1, full_table(f"spiffe://a/{'p' * 2000}/").edges())
    parts = list(lines(whole))
    assert len(parts) > 1
    assert all(len(encode(each)) <= MAX_SIDECAR_LINE for each in parts)
    assert all(decode_from_sidecar(encode(each)) == each for each in parts)
    assert tuple(edge for each in parts for edge in each.edges) == whole.edges
