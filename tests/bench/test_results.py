"""Medians, and the JSON that documentation is made from."""

import json

from handfast_bench.results import Report, Result, middle, parse_report
from support.bench_report import report


def test_a_figure_is_the_median_of_its_repeats_with_the_spread_beside_it() -> None:
    found = middle("haproxy", "bulk-1", [{"mb_per_s": each} for each in (300.0, 500.0, 310.0)])
    assert (found.figures, found.repeats) == ({"mb_per_s": 310.0}, 3)
    assert (found.low, found.high) == ({"mb_per_s": 300.0}, {"mb_per_s": 500.0})


def test_errors_of_one_repeat_are_not_hidden_by_the_others() -> None:
    samples = [{"p50_us": 1.0, "errors": each} for each in (0.0, 0.0, 3.0)]
    assert middle("go", "keepalive-1", samples).figures["errors"] == 3


def test_without_errors_nothing_is_said_of_them() -> None:
    assert "errors" not in middle("go", "keepalive-1", [{"p50_us": 1.0, "errors": 0.0}]).figures


def test_the_json_has_one_flat_entry_for_each_proxy_and_case() -> None:
    entry = json.loads(report().dump())["results"][1]
    assert entry == {
        "proxy": "handfast",
        "case": "keepalive-32",
        "requests_per_s": 60000.0,
        "cpu_us": 10.0,
        "repeats": 1,
    }


def test_a_report_is_read_back_as_it_was_written() -> None:
    samples = [{"p50_us": each} for each in (1.0, 2.0, 4.0)]
    written = Report({"cores": 2}, (middle("go", "first-byte", samples), Result("nginx", "idle", {}, 0, failed="no")))
    assert parse_report(written.dump()) == written
