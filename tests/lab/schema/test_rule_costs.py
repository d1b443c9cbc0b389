"""Kubernetes refuses a CRD whose rules could cost too much. The lab does not count: here the greatest part is counted.

By cel-go's checker/cost.go a match costs a tenth of the text times a quarter of the expression, each in bytes, and
Kubernetes takes four bytes for each character that maxLength allows, and every list to be as long as maxItems allows.
"""

import re
from collections.abc import Iterator
from math import ceil, prod
from pathlib import Path
from typing import Any

import pytest
import yaml

CRDS = Path(__file__).parents[3] / "crds"
PER_RULE, PER_CRD = 10_000_000, 100_000_000
"""The limits of k8s.io/apiextensions-apiserver, pkg/apis/apiextensions/validation."""
BESIDE = 1.03
"""What rules do beside matching."""
MATCH = re.compile(r"self\.matches\(r?'([^']*)'\)")


def rules(node: dict[str, Any], path: str, lists: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    """Each rule that matches a text, with its cost at most."""
    for rule in node.get("x-kubernetes-validations", ()):
        text = ceil((4 * node.get("maxLength", 1 << 20) + 1) * 0.1)
        cost = sum(text * ceil(len(found) * 0.25) for found in MATCH.findall(rule["rule"]))
        if cost:
            yield path, BESIDE * prod(lists) * cost
    for name, child in node.get("properties", {}).items():
        yield from rules(child, f"{path}.{name}", lists)
    if "items" in node:
        yield from rules(node["items"], f"{path}[]", (*lists, node.get("maxItems", 1 << 20)))


@pytest.mark.parametrize("crd", sorted(each.name for each in CRDS.glob("*.yaml")))
def test_the_api_server_can_afford_our_rules(crd: str) -> None:
    [version] = yaml.safe_load((CRDS / crd).read_text())["spec"]["versions"]
    costs = list(rules(version["schema"]["openAPIV3Schema"], "", ()))
    assert [(path, round(cost)) for path, cost in costs if cost > PER_RULE] == []
    assert sum(cost for _path, cost in costs) < PER_CRD


def test_what_the_api_server_refused_is_found() -> None:
    """7.4 times the limit, by its own words: 64 entries of 64 callers, each with a principal of 2048 characters."""
    pattern = "^spiffe://[a-z0-9._-]{1,255}/([A-Za-z0-9._-]+/)*([A-Za-z0-9._-]+|[*])$"
    rule = {"rule": f"self.matches('{pattern}') && !self.matches('/[.][.]?(/|$)')"}
    principal = {"maxLength": 2048, "x-kubernetes-validations": [rule]}
    callers = {"maxItems": 64, "items": {"properties": {"principal": principal}}}
    node = {"maxItems": 64, "items": {"properties": {"from": callers}}}
    [(path, cost)] = rules(node, "allow", ())
    assert path == "allow[].from[].principal"
    assert round(cost / PER_RULE, 1) == pytest.approx(7.4, abs=0.3)
