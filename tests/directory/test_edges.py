"""Edges added up: their rate, and what is forgotten."""

import pytest

from handfast_operator.directory.edges import Edges, Growth
from handfast_operator.evidence.view import EdgeKey, Party

CART, ORDERS = Party("shop", "deployment/cart"), Party("shop", "deployment/orders")
HOUR = 3600.0


def key(number: int = 0) -> EdgeKey:
    return (Party("", f"10.0.{number // 250}.{number % 250}"), ORDERS, 8080, False)


def names(edges: Edges, now: float = 0) -> set[str]:
    return {edge.source.name for edge in edges.views(now)}


def test_steady_connections_are_their_rate_after_some_minutes_and_nothing_an_hour_later() -> None:
    edges = Edges()
    for round_ in range(60):
        edges.add(ORDERS, key(), Growth(20, last=10.0 * round_, seconds=10), 10.0 * round_)
    (edge,) = edges.views(590.0)
    assert edge.per_second == pytest.approx(2.0, rel=0.1)
    (edge,) = edges.views(590.0 + HOUR)
    assert edge.per_second == 0


def test_what_grew_in_an_hour_that_nobody_heard_of_is_no_peak() -> None:
    edges = Edges()
    edges.add(ORDERS, key(), Growth(3600, last=1.0, seconds=HOUR), 1.0)
    (edge,) = edges.views(1.0)
    assert edge.per_second == pytest.approx(1.0)


def test_an_edge_that_nobody_used_for_a_day_is_forgotten() -> None:
    edges = Edges()
    edges.add(ORDERS, key(1), Growth(1, last=0.0), 0.0)
    edges.add(ORDERS, key(2), Growth(1, last=2 * HOUR), 0.0)
    edges.add(ORDERS, key(3), Growth(1, last=0.0), 0.0)
    edges.opened(ORDERS, key(3), 1, 0.0)
    edges.sweep(25 * HOUR)
    assert names(edges) == {"10.0.0.2", "10.0.0.3"}
    assert len(edges) == 2


def test_the_rule_is_that_of_the_last_decision_also_where_a_connection_was_seen_open_since() -> None:
    edges = Edges()
    edges.add(ORDERS, key(), Growth(1, rule="default", last=10.0), 12.0)
    edges.opened(ORDERS, key(), 1, 12.0)
    edges.opened(ORDERS, key(), -1, 22.0)
    edges.add(ORDERS, key(), Growth(refused={"plaintext_refused": 1}, rule="MTLSPolicy shop/strict", last=15.0), 23.0)
    edges.add(ORDERS, key(), Growth(1, rule="default", last=11.0), 24.0)
    (edge,) = edges.views(24.0)
    assert (edge.rule, edge.last_seen) == ("MTLSPolicy shop/strict", 22.0)


def test_what_was_not_seen_for_longest_makes_room_and_what_is_open_goes_last() -> None:
    edges = Edges(limit=16)
    for number in range(16):
        edges.add(ORDERS, key(number), Growth(1, last=float(number)), 20.0)
    edges.opened(ORDERS, key(0), 1, 0.0)
    edges.add(CART, key(99), Growth(1, last=30.0), 30.0)
    assert len(edges) == 16
    assert "10.0.0.0" in names(edges)
    assert "10.0.0.1" not in names(edges)
    (other,) = (edge for edge in edges.views(30.0) if edge.source.name == "other")
    assert (other.connections, other.destination.name, other.port) == (1, "other", 0)


def test_memory_is_bounded_whoever_reports_what() -> None:
    edges = Edges(limit=100, per_reporter=50)
    for number in range(5000):
        reporter = Party("shop", f"deployment/{number % 7}")
        edges.add(reporter, key(number), Growth(1, last=float(number)), float(number))
    assert len(edges) <= 100
    assert sum(edge.connections for edge in edges.views(5000.0)) == 5000
