"""What the control plane's bench makes of its measurements of scale: pure parts, and its clock."""

from datetime import timedelta
from math import inf
from pathlib import Path

import pytest

from handfast_control.exposition import Between, parse
from handfast_control.fleet import PEERS, REPLICAS, peers
from handfast_control.renewals import Cluster, spread
from handfast_control.usage import private_mb, usage_of
from handfast_control.waiting import NAMESPACES, waiting_pod
from handfast_operator.cluster.objects import parse_pod
from handfast_operator.controller.timing import Pace

HISTOGRAM = """
# HELP seconds ignored
seconds_bucket{verb="POST",le="0.1"} 0
seconds_bucket{verb="POST",le="0.2"} %d
seconds_bucket{verb="POST",le="+Inf"} %d
seconds_bucket{verb="GET",le="0.1"} 1000
seconds_sum{verb="POST"} 7.5e+01
other{quoted="a, \\"b\\" {c}"} 3
"""


def between(fast: int, all_: int) -> Between:
    return Between(parse(HISTOGRAM % (0, 0), ("seconds",)), parse(HISTOGRAM % (fast, all_), ("seconds",)))


def test_only_what_came_between_two_looks_counts() -> None:
    assert between(90, 100).total("seconds_bucket", verb="GET") == 0
    assert between(90, 100).total("seconds_bucket", verb="POST", le="+Inf") == 100


def test_a_quantile_is_found_within_its_bucket() -> None:
    assert between(100, 100).quantile("seconds", 0.5, verb="POST") == pytest.approx(0.15)
    assert between(90, 100).quantile("seconds", 0.99, verb="POST") is None
    assert between(0, 0).quantile("seconds", 0.5, verb="POST") is None


def test_labels_may_hold_anything() -> None:
    assert parse(HISTOGRAM % (0, 0), ("other",)) == {("other", (("quoted", 'a, \\"b\\" {c}'),)): 3.0}
    assert parse('x_bucket{le="+Inf"} +Inf', ("x",)) == {("x_bucket", (("le", "+Inf"),)): inf}


def test_a_process_is_read_as_linux_counts_it(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "stat").write_text("7 (a (strange) name) S " + " ".join(["0"] * 10) + " 150 50 0 0")
    (folder / "status").write_text("Name:\ta (strange) name\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n")
    (folder / "schedstat").write_text("1 2500000000 3")
    found = usage_of(7, tmp_path)
    assert (found.cpu_s, found.queued_s, found.resident_mb, found.peak_mb) == (2.0, 2.5, 100, 200)


def test_private_memory_is_what_no_other_process_maps(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "smaps_rollup").write_text(
        "400000-7fff0000 ---p 00000000 00:00 0   [rollup]\n"
        "Rss:  4096 kB\nShared_Clean:  2048 kB\nPrivate_Clean:  512 kB\nPrivate_Dirty:  1536 kB\n"
    )
    assert private_mb(7, tmp_path) == 2


def test_a_pod_with_work_talks_to_others_of_its_hundred() -> None:
    for number in (0, 99, 100, 950):
        found = peers(number)
        assert len(set(found)) == PEERS
        assert number not in found
        assert {each // 100 for each in found} == {number // 100}
        assert all(each // REPLICAS != number // REPLICAS for each in found)


def test_pods_that_wait_are_meshed_and_each_has_its_own_secret() -> None:
    pods = [
        parse_pod(raw | {"metadata": raw["metadata"] | {"uid": "u", "resourceVersion": "1"}})
        for raw in map(waiting_pod, range(600))
    ]
    assert all(each.meshed for each in pods)
    assert len({(each.namespace, each.secret) for each in pods}) == 600
    assert {each.namespace for each in pods} == set(NAMESPACES)


def test_spread_counts_seconds() -> None:
    found = spread([0.1, 0.9, 1.5, 9.99])
    assert (found.count, found.over_s, found.worst, found.mean, found.ratio) == (4, 10, 2, 0.4, 5)


async def test_the_pace_holds_when_all_pods_come_at_once() -> None:
    cluster = Cluster(3000, Pace())
    await cluster.run(timedelta(hours=1))
    found = spread(each.at_s for each in cluster.issued)
    assert found.count == 3000
    assert found.worst <= Pace().burst + Pace().rate


async def test_after_an_outage_all_who_are_due_are_served_at_once_and_spread_the_next_time() -> None:
    cluster = Cluster(2000, Pace(burst=100))
    away = timedelta(hours=6), timedelta(hours=18)
    await cluster.run(timedelta(hours=32), away=away)
    late = cluster.between(away[1], timedelta(hours=19))
    assert len(late) == 2000
    assert late[-1].at_s - away[1].total_seconds() == pytest.approx((2000 - 100) / 500, abs=1)
    again = cluster.between(timedelta(hours=24), timedelta(hours=32))
    assert len(again) == 2000
    assert spread(each.at_s for each in again).worst < 10
