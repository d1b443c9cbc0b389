"""The values: each one is documented, known to the schema, and a wrong one is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "charts" / "handfast"
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
FILES = sorted((Path(__file__).parent / "values").glob("*.yaml"))
DIGEST = "sha256:" + "1" * 64


def errors(values: dict[str, Any]) -> list[str]:
    """Where the schema refuses values, as paths with dots."""
    found = Draft7Validator(SCHEMA).iter_errors(values)
    return sorted(".".join(map(str, error.absolute_path)) for error in found)


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(SCHEMA)


def test_the_defaults_are_valid() -> None:
    assert errors(DEFAULTS) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_values_of_the_tests_are_valid(path: Path) -> None:
    assert errors(yaml.safe_load(path.read_text())) == []


def test_everything_is_set_to_something_else_by_the_file_that_says_so() -> None:
    everything = yaml.safe_load((Path(__file__).parent / "values" / "everything.yaml").read_text())
    same = [path for path, value in leaves(DEFAULTS) if at(everything, path) == value and path not in SWITCHES]
    assert same == []


SWITCHES = {
    ("crds", "enabled"),
    ("podDisruptionBudget", "enabled"),
    ("images", "operator", "digest"),
    ("images", "sidecar", "tag"),
}
"""Set to another value, they would keep something else from being seen."""


def leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is no group of values; what pods take as it is counts as one."""
    for name, value in values.items():
        if name == "monitoring":  # tested where its templates are
            continue
        if isinstance(value, dict) and value and name != "resources":
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def at(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        values = values.get(name) if isinstance(values, dict) else None
    return values


def test_the_schema_knows_exactly_the_values() -> None:
    assert groups(DEFAULTS, SCHEMA, "") == []


def groups(values: dict[str, Any], schema: dict[str, Any], path: str) -> list[str]:
    """Where the names of a group differ between values.yaml and the schema, or the schema lets unknown ones in."""
    schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    known = schema.get("properties")
    if known is None:
        return []
    wrong = [] if schema.get("additionalProperties") is False else [f"{path}: unknown names are let in"]
    optional = {"global", "requests", "limits"} | ({*known} if path == ".affinity" else set())
    wrong += [f"{path}.{name}" for name in set(values) ^ set(known) if name not in optional]
    for name in set(values) & set(known):
        if isinstance(values[name], dict):
            wrong += groups(values[name], known[name], f"{path}.{name}")
    return wrong


def test_every_value_has_a_comment() -> None:
    assert list(uncommented((CHART / "values.yaml").read_text())) == []


def uncommented(text: str) -> Iterator[str]:
    """Values with no comment above them, nor one of the same name that was explained before."""
    explained, lines = set[str](), text.splitlines()
    for number, line in enumerate(lines):
        name, colon, value = line.strip().partition(":")
        if not colon or line.strip().startswith(("#", "-")):
            continue
        if lines[number - 1].strip().startswith("#"):
            explained.add(name)
        elif value and name not in explained and not inside_of("resources", lines, number):
            yield f"line {number + 1}: {name}"


def inside_of(group: str, lines: list[str], number: int) -> bool:
    depth = len(lines[number]) - len(lines[number].lstrip())
    above = (line for line in reversed(lines[:number]) if line.strip() and len(line) - len(line.lstrip()) < depth)
    return next(above, "").strip().startswith(f"{group}:")


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"webhook": {"replica": 2}}, "webhook"),
        ({"webhook": {"replicas": "2"}}, "webhook.replicas"),
        ({"webhook": {"replicas": 0}}, "webhook.replicas"),
        ({"replicas": 2}, ""),
        ({"directory": {"resources": {"limit": {"memory": "1Gi"}}}}, "directory.resources"),
        ({"directory": {"resources": {"limits": {"memory": "1 GB"}}}}, "directory.resources.limits.memory"),
        ({"images": {"operator": {"repository": f"handfast/operator@{DIGEST}"}}}, "images.operator.repository"),
        ({"images": {"operator": {"repository": "a", "digest": "1" * 64}}}, "images.operator.digest"),
        ({"images": {"operator": {"repository": "a", "tag": "a tag"}}}, "images.operator.tag"),
        ({"images": {"sidecar": {"repository": "a", "pullPolicy": "always"}}}, "images.sidecar.pullPolicy"),
        ({"imagePullSecrets": ["registry"]}, "imagePullSecrets.0"),
        ({"trustDomain": "spiffe://cluster.local"}, "trustDomain"),
        ({"issuer": {"secretName": "Corporate CA"}}, "issuer.secretName"),
        ({"issuer": {"secretName": "handfast-authority-1"}}, "issuer.secretName"),
        ({"clusterRanges": ["10.0.0.1"]}, "clusterRanges.0"),
        ({"logLevel": "INFO"}, "logLevel"),
        ({"sidecar": {"cipherSuites": ["ECDHE-RSA-AES128-SHA"]}}, "sidecar.cipherSuites.0"),
        ({"podDisruptionBudget": {"maxUnavailable": 0}}, "podDisruptionBudget.maxUnavailable"),
        ({"podDisruptionBudget": {"maxUnavailable": "half"}}, "podDisruptionBudget.maxUnavailable"),
        ({"podDisruptionBudget": {"minAvailable": 1}}, "podDisruptionBudget"),
        (
            {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "No"}]},
            "topologySpreadConstraints.0.whenUnsatisfiable",
        ),
        ({"tolerations": [{"key": "a", "effect": "NoSchedul"}]}, "tolerations.0.effect"),
        ({"nodeSelector": {"gpu": True}}, "nodeSelector.gpu"),
        ({"commonLabels": {"app.kubernetes.io/name": "mesh"}}, "commonLabels"),
        ({"commonLabels": {"cost-centre": 4711}}, "commonLabels.cost-centre"),
        ({"podAnnotations": {"safe": True}}, "podAnnotations.safe"),
        ({"networkPolicy": {"apiServer": {"cidrs": ["kubernetes.default"]}}}, "networkPolicy.apiServer.cidrs.0"),
        ({"networkPolicy": {"apiServer": {"ports": ["https"]}}}, "networkPolicy.apiServer.ports.0"),
        ({"networkPolicy": {"metrics": {"from": [{}]}}}, "networkPolicy.metrics.from.0"),
        ({"crds": {"install": True}}, "crds"),
        ({"test": {"namespace": ""}}, "test.namespace"),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(values: dict[str, Any], where: str) -> None:
    assert errors(values) == [where]


def test_what_a_parent_chart_gives_to_all_its_charts_is_let_in() -> None:
    assert errors({"global": {"anything": 1}}) == []
