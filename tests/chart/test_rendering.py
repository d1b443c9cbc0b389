"""What Helm makes of the chart, as `make lab-chart` has kept it: of the defaults, and of everything set."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from handfast_operator.cluster.network_policies import NetworkPolicy, Rule, parse_network_policy
from handfast_operator.settings import Settings
from handfast_sidecar import wellknown

Manifest = dict[str, Any]
HERE = Path(__file__).parent
ROLES = ("controller", "webhook", "directory")
HEALTH = {
    "controller": wellknown.CONTROLLER_HEALTH_PORT,
    "webhook": wellknown.WEBHOOK_HEALTH_PORT,
    "directory": wellknown.DIRECTORY_HEALTH_PORT,
}
EVERYTHING = yaml.safe_load((HERE / "values" / "everything.yaml").read_text())


@cache
def objects(name: str) -> list[Manifest]:
    found = yaml.safe_load_all((HERE / "rendered" / f"{name}.yaml").read_text())
    return [each for each in found if each is not None]


def kinds(name: str, kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in objects(name) if each["kind"] == kind}


def pods(name: str) -> dict[str, Manifest]:
    """The pods that the operator consists of, and that of `helm test`, by role: metadata and spec."""
    found = {role: kinds(name, "Deployment")[f"handfast-{role}"]["spec"]["template"] for role in ROLES}
    return found | {"test": kinds(name, "Pod")["handfast-test"]}


def environment(pod: Manifest) -> dict[str, str]:
    return {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"] if "value" in each}


def selected(selector: Manifest, pod: Manifest) -> bool:
    return bool(selector["matchLabels"].items() <= pod["metadata"]["labels"].items())


# --- high availability


def test_by_default_no_role_is_alone_and_none_is_drained_away() -> None:
    budgets = kinds("default", "PodDisruptionBudget")
    for role in ROLES:
        deployment, budget = kinds("default", "Deployment")[f"handfast-{role}"], budgets[f"handfast-{role}"]["spec"]
        assert deployment["spec"]["replicas"] == 2
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        assert budget["maxUnavailable"] == 1
        assert [each for each, pod in pods("default").items() if selected(budget["selector"], pod)] == [role]


def test_replicas_keep_apart_by_node_and_by_zone_and_each_role_by_itself() -> None:
    for role in ROLES:
        spread = pods("default")[role]["spec"]["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        for each in spread:
            assert [name for name, pod in pods("default").items() if selected(each["labelSelector"], pod)] == [role]
            assert each["matchLabelKeys"] == ["pod-template-hash"]


def test_a_lab_has_one_of_each_and_so_no_budget() -> None:
    text = (HERE.parent.parent / "lab" / "handfast_lab" / "install" / "handfast.yaml").read_text()
    found = [each for each in yaml.safe_load_all(text) if each is not None]
    assert {each["spec"]["replicas"] for each in found if each["kind"] == "Deployment"} == {1}
    assert not [each for each in found if each["kind"] in ("PodDisruptionBudget", "NetworkPolicy", "Pod")]


# --- what everything set does


def test_each_of_the_operators_pods_is_placed_as_the_values_say() -> None:
    for pod in pods("everything").values():
        spec = pod["spec"]
        for name in ("imagePullSecrets", "nodeSelector", "tolerations", "affinity", "priorityClassName"):
            assert spec[name] == EVERYTHING[name]
        assert EVERYTHING["podAnnotations"].items() <= pod["metadata"]["annotations"].items()
        assert EVERYTHING["commonLabels"].items() <= pod["metadata"]["labels"].items()
        assert spec["containers"][0]["image"] == "registry.example/handfast/operator:9"


def test_every_object_has_the_common_labels_and_no_selector_has() -> None:
    for each in objects("everything"):
        assert EVERYTHING["commonLabels"].items() <= each["metadata"]["labels"].items(), each["metadata"]["name"]
    for deployment in kinds("everything", "Deployment").values():
        assert "team" not in deployment["spec"]["selector"]["matchLabels"]


def test_what_selects_a_deployments_pods_never_changes() -> None:
    """A Deployment's selector is immutable: an upgrade with another one fails."""
    for name in ("default", "everything"):
        for role in ROLES:
            assert kinds(name, "Deployment")[f"handfast-{role}"]["spec"]["selector"]["matchLabels"] == {
                "app.kubernetes.io/name": "handfast",
                "app.kubernetes.io/instance": "handfast",
                "app.kubernetes.io/component": role,
            }


def test_the_operator_reads_every_variable_that_the_chart_sets() -> None:
    default = Settings()
    set_by_chart = {name: value for pod in pods("everything").values() for name, value in environment(pod).items()}
    assert set_by_chart
    for name, value in set_by_chart.items():
        assert Settings.from_environment({name: value}) != default, name


def test_the_settings_are_those_of_the_values() -> None:
    settings = Settings.from_environment(environment(pods("everything")["controller"]))
    assert settings.issuer_secret == "corporate-ca"
    assert settings.trust_domain == "mesh.corp.example"
    assert settings.sidecar_image == "registry.example/handfast/sidecar@sha256:" + "2" * 64
    assert settings.sidecar_resources == EVERYTHING["sidecar"]["resources"]


def test_roles_for_people_are_theirs_to_bind_where_they_are_not_aggregated() -> None:
    aggregated = {
        name: [role for role, each in kinds(name, "ClusterRole").items() if "aggregate" in json.dumps(each["metadata"])]
        for name in ("default", "everything")
    }
    assert aggregated == {"default": ["handfast-view", "handfast-edit", "handfast-admin"], "everything": []}


# --- NetworkPolicies, judged as the controller judges everybody else's


def policy(role: str) -> NetworkPolicy:
    raw = kinds("everything", "NetworkPolicy")[f"handfast-{role}"]
    ours = raw | {"metadata": raw["metadata"] | {"uid": "u", "resourceVersion": "1"}}
    return parse_network_policy(ours)


def admits(rules: tuple[Rule, ...] | None, port: int, *, pod: Manifest | None = None, address: str = "") -> bool:
    """Whether some rule lets a pod of ours in or out, or one at an address outside the cluster."""
    assert rules is not None, "a direction that is not isolated lets everything pass"
    for rule in (each for each in rules if each.admits(port, ())):
        for peer in rule.peers or ():
            if address and peer.block is not None and peer.block.contains(address):
                return True
            labels = pod["metadata"]["labels"] if pod is not None else {}
            if not address and peer.selects("handfast-system", "handfast-system" if pod else "shop", {}, labels):
                return True
    return False


def test_every_pod_of_ours_has_one_policy() -> None:
    for name, pod in pods("everything").items():
        found = [each for each in (*ROLES, "test") if policy(each).selector.matches(pod["metadata"]["labels"])]
        assert found == [name]


def test_the_webhook_is_open_to_the_api_server_and_the_controller_alone() -> None:
    ingress, ours = policy("webhook").ingress, pods("everything")
    assert admits(ingress, wellknown.WEBHOOK_PORT, address="192.0.2.5")
    assert admits(ingress, wellknown.WEBHOOK_PORT, pod=ours["controller"])
    assert not admits(ingress, wellknown.WEBHOOK_PORT)
    assert not admits(ingress, wellknown.WEBHOOK_PORT, address="198.51.100.1")


def test_the_directory_is_open_to_every_pod_and_to_nobody_from_outside() -> None:
    assert admits(policy("directory").ingress, wellknown.DIRECTORY_PORT)
    assert admits(policy("directory").ingress, wellknown.DIRECTORY_PORT, pod=pods("everything")["controller"])
    assert not admits(policy("directory").ingress, wellknown.DIRECTORY_PORT, address="198.51.100.1")


def test_directories_may_ask_each_other_how_fresh_they_are() -> None:
    other = pods("everything")["directory"]
    assert admits(policy("directory").ingress, wellknown.DIRECTORY_HEALTH_PORT, pod=other)
    assert admits(policy("directory").egress, wellknown.DIRECTORY_HEALTH_PORT, pod=other)


def test_the_controller_may_ask_webhook_and_directory() -> None:
    egress, ours = policy("controller").egress, pods("everything")
    assert admits(egress, wellknown.WEBHOOK_PORT, pod=ours["webhook"])
    assert admits(egress, wellknown.DIRECTORY_PORT, pod=ours["directory"])
    assert not admits(egress, wellknown.DIRECTORY_PORT)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_reaches_the_api_server_and_is_scraped_by_whom_the_values_name(role: str) -> None:
    assert admits(policy(role).egress, 6443, address="192.0.2.5")
    assert not admits(policy(role).egress, 6443, address="198.51.100.1")
    assert not admits(policy(role).ingress, HEALTH[role]), "only the namespace monitoring"


def test_the_test_of_helm_reaches_what_it_tries() -> None:
    egress = policy("test").egress
    assert admits(egress, 6443, address="192.0.2.5")
    assert admits(egress, wellknown.DIRECTORY_PORT, pod=pods("everything")["directory"])
    assert policy("test").ingress == ()


# --- helm test


def hooks(name: str) -> list[Manifest]:
    return [each for each in objects(name) if "helm.sh/hook" in (each["metadata"].get("annotations") or {})]


def test_what_helm_test_makes_goes_when_it_has_passed() -> None:
    assert {each["kind"] for each in hooks("default")} >= {"Pod", "ServiceAccount", "Role", "ClusterRole"}
    for each in hooks("default"):
        assert each["metadata"]["annotations"]["helm.sh/hook"] == "test"
        assert each["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_the_account_of_helm_test_may_do_no_more_than_the_test() -> None:
    granted = [
        (each["metadata"].get("namespace"), rule["resources"], rule.get("resourceNames"), rule["verbs"])
        for each in hooks("default")
        for rule in each.get("rules", ())
    ]
    assert sorted(granted, key=str) == [
        ("default", ["pods"], None, ["create"]),
        ("handfast-system", ["configmaps"], ["handfast-bundle"], ["get"]),
        (None, ["trustdomains"], ["cluster.local"], ["get"]),
    ]
    [guard] = [each["spec"] for each in hooks("default") if each["kind"] == "ValidatingAdmissionPolicy"]
    assert "request.dryRun" in guard["validations"][0]["expression"]
    assert guard["failurePolicy"] == "Fail"


# --- custom resources


def test_the_custom_resources_that_are_rendered_are_those_of_crds_owned_and_kept() -> None:
    root = HERE.parent.parent
    kept = (root / "lab" / "handfast_lab" / "install" / "handfast.yaml").read_text()
    crds = {
        each["metadata"]["name"]: each
        for each in yaml.safe_load_all(kept)
        if each is not None and each["kind"] == "CustomResourceDefinition"
    }
    ours = [yaml.safe_load(path.read_text()) for path in (root / "crds").glob("*.yaml")]
    assert {each["metadata"]["name"]: each["spec"] for each in ours} == {
        name: each["spec"] for name, each in crds.items()
    }
    for each in crds.values():
        assert each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_no_folder_is_left_that_helm_installs_once_and_never_upgrades() -> None:
    assert not (HERE.parent.parent / "charts" / "handfast" / "crds").exists()
