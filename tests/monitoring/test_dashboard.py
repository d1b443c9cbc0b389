"""The dashboard asks for nothing that no program serves, and Prometheus can read all of it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from handfast_operator.metrics import PROGRAMS
from support.dashboard import dashboard, panels, queries
from support.promql import Asked, asked

DECLARED = {metric.name: metric for program in PROGRAMS.values() for metric in program}
OF_THE_SCRAPE = {"namespace", "pod", "job", "instance"}
"""Labels that Prometheus adds."""


@pytest.mark.parametrize(("title", "expression"), list(queries()), ids=lambda value: value if "(" not in value else "")
def test_a_query_asks_for_metrics_and_labels_that_there_are(title: str, expression: str) -> None:
    found = asked(expression)
    assert found.metrics, title
    for metric in found.metrics:
        assert base(metric) in DECLARED
    for metric, label, text in found.matchers:
        if label not in OF_THE_SCRAPE:
            values = next(each.values for each in DECLARED[base(metric)].labels if each.name == label)
            assert not values or set(text.split("|")) <= set(values)
    ours = {label.name for metric in found.metrics for label in DECLARED[base(metric)].labels}
    assert found.groupings <= ours | OF_THE_SCRAPE | {"le"}


def base(metric: str) -> str:
    """The name that a series of a histogram is declared under."""
    return re.sub("_(bucket|sum|count)$", "", metric)


def test_prometheus_can_read_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"q:{number}", "expr": expression} for number, (_, expression) in enumerate(queries())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is missing: apt-get install prometheus"
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_for_people_is_looked_at_somewhere() -> None:
    shown = {base(metric) for _, expression in queries() for metric in asked(expression).metrics}
    not_shown = {
        "process_start_time_seconds",
        "handfast_certificate_renewal_timestamp_seconds",
        "handfast_identity_reloads_total",
        "handfast_identity_reload_failures_total",
        "handfast_identity_refused",
        "handfast_identity_secrets_rewritten_total",
        "handfast_issuer_refused",
        "handfast_rotation_step_timestamp_seconds",
        "handfast_evidence_replicas",
        "handfast_evidence_lost_total",
        "handfast_webhook_certificate_failures_total",
        "handfast_webhook_certificate_refused",
        "handfast_directory_connected",
        "handfast_directory_reconnects_total",
        "handfast_directory_reported_connections",
        "handfast_directory_edges",
        "handfast_directory_evidence_feeds",
        "handfast_admin_bad_requests_total",
    }
    assert set(DECLARED) - shown == not_shown


def test_the_rows_are_those_of_the_page() -> None:
    assert [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"] == [
        "Health at a glance",
        "Traffic and encryption",
        "Refusals",
        "Certificates and rotation",
        "Control plane",
        "Data plane cost",
    ]


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    every = dashboard()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    places: set[tuple[int, int]] = set()
    for grid in (panel["gridPos"] for panel in every):
        assert grid["x"] + grid["w"] <= 24
        mine = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not mine & places
        places |= mine


def test_every_query_goes_to_the_data_source_that_is_chosen() -> None:
    for panel in panels():
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("up", Asked(frozenset({"up"}), frozenset(), frozenset())),
        (
            'sum by (a, b) (rate(x_total{c="d",e=~"f|g"}[5m])) / on (h) y > 1e3',
            Asked(
                frozenset({"x_total", "y"}),
                frozenset({("x_total", "c", "d"), ("x_total", "e", "f|g")}),
                frozenset("abh"),
            ),
        ),
        (
            "max(z) - time() < 5 * (rate(w[1h] offset 10m)) or vector(0)",
            Asked(frozenset({"z", "w"}), frozenset(), frozenset()),
        ),
    ],
)
def test_what_an_expression_asks_for_is_found(expression: str, expected: Asked) -> None:
    assert asked(expression) == expected
