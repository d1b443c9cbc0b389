"""What stands in the way is named where its owner looks: in an Event of the pod, or in the sidecar's log."""

from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.manifests import Manifest
from cluster.kube.workloads import Workloads
from cluster.mesh import policy, proxy_log, until
from handfast_sidecar.wellknown import PROXY_CONTAINER

pytestmark = pytest.mark.usefixtures("handfast")


def network_policy(name: str, namespace: str, app: str, ports: list[Manifest]) -> Manifest:
    """One that admits these ports of an application from its own namespace."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "podSelector": {"matchLabels": {"app": app}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {}}], "ports": ports}],
        },
    }


def events(cluster: Cluster, namespace: str, reason: str) -> list[Manifest]:
    """Events with a reason."""
    return [each for each in cluster.list("events", namespace) if each["reason"] == reason]


def dial(cluster: Cluster, namespace: str, target: str) -> None:
    """One connection of the pod `client`, whatever becomes of it."""
    cluster.client("client", namespace, "load", f"http://{target}/", "--requests=1", "--close")


def explained(cluster: Cluster, pod: str, namespace: str, reason: str) -> dict[str, Any] | None:
    """The last line of a sidecar that has a reason and a sentence."""
    lines = [each for each in proxy_log(cluster, pod, namespace) if each.get("reason") == reason and "detail" in each]
    return lines[-1] if lines else None


def test_a_network_policy_that_leaves_the_mesh_port_out_is_told_on_the_servers_pod(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace("shop", inject=True)
    http, mesh = ({"protocol": "TCP", "port": port} for port in (8080, 14008))
    cluster.apply([network_policy("web", here, "web", [http, mesh]), network_policy("orders", here, "orders", [http])])
    cluster.apply_ready(
        *workloads.server("orders", here, "http"), *workloads.server("web", here, "http"), workloads.pod("client", here)
    )
    found = until("an Event", lambda: events(cluster, here, "MeshPortBlocked"), timeout_s=60)
    assert [each["involvedObject"]["name"] for each in found] == ["orders"]
    assert f"NetworkPolicy {here}/orders admits TCP port 8080 of Pod {here}/orders" in found[0]["message"]
    assert "{protocol: TCP, port: 14008}" in found[0]["message"]


def test_a_host_port_under_strict_is_told(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> None:
    here = namespace("shop", inject=True)
    pod = workloads.pod("web", here, "http")
    pod["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": 18090}]
    cluster.apply_ready(pod)
    assert events(cluster, here, "HostPortPlaintext") == []
    cluster.apply([policy(here, "strict", mode="Strict")])
    [found] = until("an Event", lambda: events(cluster, here, "HostPortPlaintext"))
    assert found["involvedObject"]["name"] == "web"
    assert "port 18090 of the node" in found["message"]
    assert f"MTLSPolicy {here}/strict asks for Strict" in found["message"]


def test_the_pods_of_a_deployment_that_have_no_sidecar_are_told_of_once(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace()
    cluster.apply_ready(workloads.deployment("orders", here, "http", replicas=3), workloads.pod("alone", here))
    cluster("label", "namespace", here, "handfast.dev/inject=enabled")

    def told() -> list[str]:
        return sorted(each["message"].rpartition("restart it ")[2] for each in events(cluster, here, "NotInjected"))

    until("two Events", lambda: len(told()) >= 2)
    assert told() == [
        "(delete the pod and create it again)",
        f"(kubectl rollout restart deployment/orders -n {here})",
    ]


def test_a_service_without_endpoints_is_named_in_the_clients_log(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace("shop", inject=True)
    cluster.apply_ready(workloads.service("nobody", here, [8080]), workloads.pod("client", here))

    def line() -> dict[str, Any] | None:
        dial(cluster, here, f"nobody.{here}:8080")
        return explained(cluster, "client", here, "no_endpoints")

    detail = until("a refusal", line)["detail"]  # type: ignore[index]
    assert f"the Service {here}/nobody has no ready endpoint for port 8080" in detail
    assert f"kubectl get endpointslices -n {here} -l kubernetes.io/service-name=nobody" in detail


def test_an_application_that_listens_on_loopback_only_is_told_of_in_its_own_sidecars_log(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace("shop", inject=True)
    cluster.apply_ready(workloads.pod("shy", here, "http", "--host=127.0.0.1", probe={}), workloads.pod("client", here))
    address = cluster.address_of("shy", here)

    def said(reason: str, port: int) -> dict[str, Any] | None:
        dial(cluster, here, f"{address}:{port}")
        return explained(cluster, "shy", here, reason)

    found = until("the application's address", lambda: said("loopback_only", 8080))
    assert found is not None
    assert found["port"] == 8080
    assert "127.0.0.1 only" in found["detail"]
    until("that nobody listens", lambda: (said("nobody_listens", 9999) or {}).get("port") == 9999)


def test_an_image_whose_user_is_the_sidecars_is_told_of_in_the_sidecars_log(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    """The sidecar's own image is one."""
    here = namespace("shop", inject=True)
    cluster.apply_ready(workloads.pod("client", here))
    sidecars = cluster.get("pod", "client", here)["spec"]["initContainers"]
    pod = workloads.pod("twin", here)
    pod["spec"]["containers"][0] |= {
        "image": next(each["image"] for each in sidecars if each["name"] == PROXY_CONTAINER),
        "command": ["python3", "-c", "import socket, time; server = socket.create_server(('', 8080)); time.sleep(600)"],
        "args": [],
    }
    cluster.apply_ready(pod)
    found = until("the other user", lambda: explained(cluster, "twin", here, "own_user"), timeout_s=75)
    assert found is not None
    assert found["level"] == "error"
    assert "user 7443 and listens on port 8080" in found["detail"]
    assert explained(cluster, "client", here, "own_user") is None
