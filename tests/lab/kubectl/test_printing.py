"""Tables and YAML as kubectl lays them out."""

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from handfast_lab.kubectl.printing import as_yaml, cells, lines, shown

TABLE: dict[str, Any] = {
    "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Ready"}, {"name": "Node", "priority": 1}],
    "rows": [
        {"cells": ["web", True, "node1"], "object": {"metadata": {"name": "web", "namespace": "shop"}}},
        {"cells": ["first\nsecond", None, "node1"], "object": {"metadata": {"namespace": "else"}}},
    ],
}


def test_columns_are_three_spaces_apart_and_at_least_six_wide() -> None:
    assert lines([["NAME", "A", "AGE"], ["longer-name", "1", "5s"]], []) == [
        "NAME          A     AGE",
        "longer-name   1     5s",
    ]


def test_columns_of_a_watch_never_shrink() -> None:
    widths: list[int] = []
    lines([["longer-name", "1"]], widths)
    assert lines([["a", "1"]], widths) == ["a             1"]


def test_a_table_shows_what_matters_first() -> None:
    rows = cells(TABLE, wide=False, namespaces=False, headers=True)
    assert rows == [["NAME", "READY"], ["web", "true"], ["first...", ""]]


def test_a_wide_table_of_all_namespaces_shows_everything() -> None:
    rows = cells(TABLE, wide=True, namespaces=True, headers=False, prefix="pod/")
    assert rows[0] == ["shop", "pod/web", "true", "node1"]


def test_who_owns_which_field_is_not_shown() -> None:
    found = {"metadata": {"name": "a", "managedFields": [1]}}
    assert "managedFields" not in shown(found, "json")
    assert "managedFields" not in shown({"items": [found]}, "yaml")


def test_yaml_is_written_as_kubectl_writes_it() -> None:
    found = {"b": ["x"], "a": {"text": "one\ntwo\n", "number": "1", "time": "2026-01-01T00:00:00Z", "plain": "yes sir"}}
    assert as_yaml(found) == (
        'a:\n  number: "1"\n  plain: yes sir\n  text: |\n    one\n    two\n  time: "2026-01-01T00:00:00Z"\nb:\n- x\n'
    )


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans() | st.none()))
def test_what_is_written_as_yaml_is_read_the_same(found: dict[str, Any]) -> None:
    assert yaml.safe_load(as_yaml(found)) == found
