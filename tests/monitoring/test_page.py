"""The reference of metrics is what the programs declare, and nobody declares one anywhere else."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from handfast_operator.metrics import PROGRAMS
from handfast_sidecar.observe.declared import MAX_FROM_THE_START, CounterMetric, Declared, GaugeMetric, Label
from handfast_sidecar.observe.metrics import Registry
from support.metrics_page import PAGE, page

ROOT = Path(__file__).parent.parent.parent
EVERY = [metric for program in PROGRAMS.values() for metric in program]
OF_A_POD = {"pod", "namespace", "node", "ip", "address", "peer", "source", "identity", "uid", "service", "workload"}


def test_the_page_is_what_the_code_gives() -> None:
    assert PAGE.read_text() == page(), "run `make metrics-page`"


def test_no_program_declares_a_metric_outside_of_its_table() -> None:
    found = []
    for source in (*(ROOT / "operator").rglob("*.py"), *(ROOT / "sidecar").rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                asks = node.func.attr in {"counter", "gauge", "histogram"}
                if asks and source.name != "declared.py":
                    found.append(f"{source.name}:{node.lineno}")
    assert found == []


def test_one_name_means_one_thing_in_all_programs() -> None:
    declared = defaultdict(set)
    for metric in EVERY:
        declared[metric.name].add((metric.kind, metric.help, metric.label_names))
    assert {name: found for name, found in declared.items() if len(found) > 1} == {}


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_no_label_grows_with_the_number_of_pods(metric: Declared) -> None:
    # `source` of an authority is who made it.
    assert {label.name for label in metric.labels if not label.values} & OF_A_POD == set()
    assert all(label.values or label.meaning for label in metric.labels)


def test_a_counter_of_known_labels_is_there_before_anything_happened() -> None:
    registry = Registry()
    CounterMetric("a_total", "A.", (Label("way", ("in", "out")),)).of(registry)
    CounterMetric("b_total", "B.", (Label("reason", (), "many"),)).of(registry)
    many = tuple(map(str, range(MAX_FROM_THE_START + 1)))
    CounterMetric("c_total", "C.", (Label("reason", many),)).of(registry)
    GaugeMetric("d", "D.", (Label("way", ("in", "out")),)).of(registry)
    samples = [line for line in registry.render().splitlines() if not line.startswith("#")]
    assert samples == ['a_total{way="in"} 0', 'a_total{way="out"} 0']
