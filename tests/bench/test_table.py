"""The tables: ratios, failures, and bars."""

from handfast_bench.bars import judge
from handfast_bench.results import Result
from handfast_bench.table import markdown, number
from support.bench_report import report


def rows(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith((f"| {name} |", f"| **{name}** |"))]


def test_ours_is_set_beside_haproxy_and_the_best_peer() -> None:
    assert rows(markdown(report()), "handfast") == ["| **handfast** | 60,000 (2.00; 1.50) | 10.0 (0.50; 0.50) |"]


def test_a_peer_is_set_beside_haproxy_alone() -> None:
    assert rows(markdown(report()), "go") == ["| go | 40,000 (1.33) | 25.0 (1.25) |"]


def test_no_proxy_costs_nothing_and_is_no_peer() -> None:
    assert rows(markdown(report()), "direct") == ["| direct | 90,000 (3.00) | - |"]


def test_a_peer_that_failed_says_why() -> None:
    failed = Result("stunnel", "keepalive-32", {}, 0, failed="only 7 of 32 connections\nand more")
    assert rows(markdown(report(failed)), "stunnel") == ["| stunnel | only 7 of 32 connections |  |"]


def test_errors_stand_beside_the_figures_they_spoil() -> None:
    spoilt = Result("stunnel", "keepalive-32", {"requests_per_s": 1.0, "cpu_us": 2.0, "errors": 5.0})
    assert "with 5 errors" in rows(markdown(report(spoilt)), "stunnel")[0]


def test_an_applications_own_tls_is_named_by_what_it_does() -> None:
    own = Result("openssl", "first-byte-tls13-full", {"p50_us": 900.0})
    assert rows(markdown(report(own)), "openssl, tls13-full") == ["| openssl, tls13-full | 900 |"]


def test_a_bar_is_held_missed_or_not_measured() -> None:
    slow = Result("handfast", "new-connections", {"connections_per_s": 60.0, "cpu_us": 1.0})
    base = Result("haproxy", "new-connections", {"connections_per_s": 10.0, "cpu_us": 20.0})
    verdicts = {each.bar.what: (each.value, each.held) for each in judge(report(slow, base))}
    assert verdicts["requests/s, 32 connections"] == (2.0, True)
    assert verdicts["new connections/s"] == (6.0, False)
    assert verdicts["CPU per new connection"] == (0.05, True)
    assert verdicts["CPU per GB, one stream"] == (None, None)


def test_memory_has_a_bar_of_its_own() -> None:
    idle = Result("handfast", "idle", {"rss_kb": 51_200.0, "private_kb": 10_240.0, "kb_per_idle_connection": 4.0})
    verdicts = {each.bar.what: (each.value, each.held) for each in judge(report(idle))}
    assert verdicts["RSS before any connection"] == (50.0, False)
    assert verdicts["private memory before any connection"] == (10.0, True)
    assert verdicts["memory per idle connection"] == (4.0, True)


def test_numbers_are_as_long_as_they_are_worth() -> None:
    assert [number(each) for each in (62_800.4, 98.76, 1.756)] == ["62,800", "98.8", "1.76"]
