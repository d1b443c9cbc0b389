"""The chart carries what the repository has, and asks for no more than it needs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    assert {path.name: path.read_bytes() for path in (CHART / "files" / "crds").glob("*.yaml")} == ours


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


@pytest.mark.parametrize(
    "document", ["mtlspolicies", "clustermtlspolicies", "trustdomains", "accessrequests", "accessgrants"]
)
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


def user_roles() -> dict[str, dict[str, Any]]:
    """The ClusterRoles for people, by name; only the names of the chart's labels are left out."""
    text = (CHART / "templates" / "user-roles.yaml").read_text()
    plain = "\n".join(line for line in text.splitlines() if "{{" not in line)
    return {role["metadata"]["name"]: role for role in yaml.safe_load_all(plain)}


def test_who_edits_a_namespace_may_ask_and_only_its_admin_may_open_it() -> None:
    roles = user_roles()
    aggregated = {
        name: next(iter(role["metadata"].get("labels") or {"": ""})).rpartition("-")[2] for name, role in roles.items()
    }
    assert aggregated == {
        "handfast-view": "view",
        "handfast-edit": "edit",
        "handfast-admin": "admin",
        "handfast-request-reader": "",
        "handfast-evidence-reader": "",
        "handfast-trust-admin": "",
    }
    written = {
        (name, resource)
        for name, role in roles.items()
        for rule in role["rules"]
        for resource in rule["resources"]
        if set(rule["verbs"]) - {"get", "list", "watch"}
    }
    assert written == {
        ("handfast-edit", "accessrequests"),
        ("handfast-admin", "mtlspolicies"),
        ("handfast-admin", "accessgrants"),
        ("handfast-evidence-reader", "pods/portforward"),
        ("handfast-trust-admin", "trustdomains"),
    }


def test_who_views_may_read_who_signs_and_no_role_for_people_reads_secrets() -> None:
    rules_of = {name: role["rules"] for name, role in user_roles().items()}
    assert any("trustdomains" in rule["resources"] for rule in rules_of["handfast-view"])
    assert not any("secrets" in rule["resources"] for listed in rules_of.values() for rule in listed)
    assert all(set(rule["verbs"]) == {"get", "list", "watch"} for rule in rules_of["handfast-view"])


def test_nobody_but_the_controller_may_write_a_status_and_it_writes_no_grant() -> None:
    for rule in (rule for role in user_roles().values() for rule in role["rules"]):
        assert not any(each.endswith("/status") for each in rule["resources"])
    for rule in rules():
        if "accessgrants" in rule["resources"]:
            assert rule["verbs"] == ["get", "list", "watch"]


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
