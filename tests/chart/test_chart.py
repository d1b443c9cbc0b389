"""The chart carries what the repository has, and asks for no more than it needs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from handfast_operator.settings import Settings
from handfast_sidecar import __version__, wellknown

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "charts" / "handfast"
TEMPLATES = sorted((CHART / "templates").glob("*.yaml"))


def rules() -> list[dict[str, Any]]:
    """Every RBAC rule of the chart; the template's own lines are left out, which the rules do not use."""
    text = (CHART / "templates" / "rbac.yaml").read_text()
    plain = "\n".join(line for line in text.splitlines() if not re.search(r"{{|^  labels:", line))
    return [rule for part in yaml.safe_load_all(plain) for rule in (part or {}).get("rules", ())]


def test_the_chart_carries_the_custom_resources_of_crds() -> None:
    ours = {path.name: path.read_bytes() for path in (ROOT / "crds").glob("*.yaml")}
    assert ours
    assert {path.name: path.read_bytes() for path in (CHART / "crds").glob("*.yaml")} == ours


def test_no_rule_has_a_wildcard() -> None:
    assert rules()
    for rule in rules():
        assert "*" not in [word for words in rule.values() for word in words]


def test_every_rule_says_why() -> None:
    lines = (CHART / "templates" / "rbac.yaml").read_text().splitlines()
    granted = [number for number, line in enumerate(lines) if line.strip().startswith("- apiGroups")]
    assert granted
    assert [lines[number] for number in granted if not lines[number - 1].strip().startswith("#")] == []


def test_only_the_controller_may_touch_secrets() -> None:
    text = (CHART / "templates" / "rbac.yaml").read_text()
    controller, rest = text.split("name: handfast-webhook", 1)
    assert "secrets" in controller
    assert "secrets" not in rest


@pytest.mark.parametrize("document", ["mtlspolicies", "clustermtlspolicies", "trustdomains"])
def test_every_field_of_a_custom_resource_is_documented(document: str) -> None:
    crd = yaml.safe_load((ROOT / "crds" / f"{document}.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert list(undocumented(spec, "spec")) == []


def undocumented(schema: dict[str, Any], path: str) -> list[str]:
    found = [] if schema.get("description") else [path]
    for name, each in schema.get("properties", {}).items():
        found += undocumented(each, f"{path}.{name}")
    if "properties" in schema.get("items", {}):
        for name, each in schema["items"]["properties"].items():
            found += undocumented(each, f"{path}[].{name}")
    return found


def test_the_schema_knows_exactly_the_values() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(values) == set(schema["properties"]) - {"global"}


def test_versions_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_ports_and_names_in_the_chart_are_those_of_the_code() -> None:
    text = "".join(path.read_text() for path in TEMPLATES)
    for port in (
        wellknown.WEBHOOK_PORT,
        wellknown.DIRECTORY_PORT,
        wellknown.CONTROLLER_HEALTH_PORT,
        wellknown.WEBHOOK_HEALTH_PORT,
        wellknown.DIRECTORY_HEALTH_PORT,
    ):
        assert str(port) in text
    for label in (wellknown.LABEL_IDENTITY, wellknown.LABEL_AUTHORITY, wellknown.LABEL_SERVING):
        assert f"'{label}'" in text


def test_the_operator_reads_every_variable_that_the_chart_sets() -> None:
    text = (CHART / "templates" / "_names.tpl").read_text()
    names = set(re.findall(r"name: (HANDFAST_\w+)", text))
    values = dict.fromkeys(names, "info") | {
        "HANDFAST_TRUST_DOMAIN": "other.example",
        "HANDFAST_SIDECAR_RESOURCES": '{"limits": {}}',
        "HANDFAST_CLUSTER_RANGES": "10.1.0.0/16",
        "HANDFAST_SIDECAR_CIPHER_SUITES": "TLS_AES_128_GCM_SHA256",
    }
    default = Settings()
    for name in names:
        alone = Settings.from_environment({name: values[name] + ("" if name in NOT_WORDS else "x")})
        assert alone != default, name


NOT_WORDS = {
    "HANDFAST_TRUST_DOMAIN",
    "HANDFAST_SIDECAR_RESOURCES",
    "HANDFAST_CLUSTER_RANGES",
    "HANDFAST_SIDECAR_CIPHER_SUITES",
}
