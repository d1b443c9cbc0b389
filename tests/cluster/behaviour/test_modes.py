"""What a pod accepts, by policy: Strict, Permissive, Disabled, at every level."""

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, cluster_policy, metric, policy, until

pytestmark = pytest.mark.usefixtures("handfast")


def _served(cluster: Cluster, namespace: str, host: str) -> bool:
    report = cluster.client("client", namespace, "load", f"http://{host}:8080/", "--requests=1", "--close")
    return bool(report["failed"] == 0)


@pytest.fixture
def shop(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> tuple[str, str]:
    """A meshed server `orders`, and a namespace without sidecars, each with a client."""
    meshed, outside = namespace("shop", inject=True), namespace("outside")
    cluster.apply_ready(
        *workloads.server("orders", meshed, "http"), workloads.pod("client", meshed), workloads.pod("client", outside)
    )
    for where in (meshed, outside):
        cluster.wait_reachable("client", where, f"orders.{meshed}", 8080)
    return meshed, outside


def test_without_a_policy_plaintext_is_served_and_counted(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, outside = shop
    before = metric(cluster, "orders", meshed, "handfast_plaintext_connections_total", direction="in")
    assert _served(cluster, outside, f"orders.{meshed}")
    assert metric(cluster, "orders", meshed, "handfast_plaintext_connections_total", direction="in") == before + 1


def test_strict_refuses_a_pod_without_a_sidecar(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, outside = shop
    cluster.apply([policy(meshed, "strict", mode="Strict")])
    until("plaintext is refused", lambda: not _served(cluster, outside, f"orders.{meshed}"), timeout_s=10)
    assert _served(cluster, meshed, "orders")
    refused = [line for line in access_log(cluster, "orders", meshed) if line["verdict"] == "refused"]
    assert refused[-1]["reason"] == "plaintext_refused"
    assert refused[-1]["rule"] == f"MTLSPolicy {meshed}/strict"
    assert metric(cluster, "orders", meshed, "handfast_denied_total", reason="plaintext_refused") >= 1
    cluster.delete("mtlspolicy", "strict", meshed)
    until("plaintext is served again", lambda: _served(cluster, outside, f"orders.{meshed}"), timeout_s=10)


def test_disabled_is_plaintext_on_the_wire(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, _outside = shop
    cluster.apply([policy(meshed, "off", mode="Disabled")])
    server = cluster.address_of("orders", meshed)

    def in_plaintext() -> bool:
        with cluster.capture(server) as captured:
            assert _served(cluster, meshed, "orders")
        return captured.contains(b"hello from orders")

    until("the greeting is on the wire", in_plaintext, timeout_s=10)


def test_a_workloads_policy_beats_the_namespaces_and_that_the_clusters(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, outside = shop
    name = f"strict-{meshed}"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": meshed}}
    try:
        cluster.apply([cluster_policy(name, mode="Strict", namespaceSelector=selector)])
        until("the cluster's Strict holds", lambda: not _served(cluster, outside, f"orders.{meshed}"))
        cluster.apply([policy(meshed, "namespace", mode="Permissive")])
        until("the namespace's Permissive holds", lambda: _served(cluster, outside, f"orders.{meshed}"))
        cluster.apply([policy(meshed, "workload", mode="Strict", selector={"matchLabels": {"app": "orders"}})])
        until("the workload's Strict holds", lambda: not _served(cluster, outside, f"orders.{meshed}"))
        cluster.apply([policy(meshed, "port", ports=[{"port": 8080, "mode": "Permissive"}])])
        until("the port's Permissive holds", lambda: _served(cluster, outside, f"orders.{meshed}"))
    finally:
        cluster.delete("clustermtlspolicy", name)


def test_a_policy_says_whom_it_selects(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, _outside = shop
    cluster.apply([policy(meshed, "orders", mode="Strict", selector={"matchLabels": {"app": "orders"}})])
    cluster.apply([policy(meshed, "nobody", mode="Strict", selector={"matchLabels": {"app": "nobody"}})])
    cluster.wait("mtlspolicy", "orders", "jsonpath={.status.selected}=1", meshed)
    cluster.wait("mtlspolicy", "orders", "condition=Ready", meshed)
    cluster.wait("mtlspolicy", "nobody", "condition=Ready=false", meshed)
    message = cluster.get("mtlspolicy", "nobody", meshed)["status"]["conditions"][-1]["message"]
    assert "no pod of the namespace" in message
