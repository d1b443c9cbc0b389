"""Several pods behind one Service: how connections are spread, and what a client notices when one of them goes."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.manifests import Manifest
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, identity_of, policy, until

pytestmark = pytest.mark.usefixtures("handfast")
REPLICAS = 3


@pytest.mark.timeout(400)
def test_connections_are_spread_over_the_replicas_and_one_that_goes_costs_no_more_than_without_a_mesh(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    meshed, plain = namespace("meshed", inject=True), namespace("plain")
    cluster.apply([policy(meshed, "strict", mode="Strict")])
    for here in (meshed, plain):
        cluster.apply_ready(*_orders(workloads, here), workloads.pod("client", here))
        cluster.wait_reachable("client", here, "orders", 8080)
    _load(cluster, meshed, 150)
    taken = _taken(cluster, meshed)
    assert set(taken) == set(_pods(cluster, meshed)), taken
    assert min(taken.values()) >= 25, taken

    failures, requests = {}, {}
    for here in (meshed, plain):
        words = ["load", "http://orders:8080/", "--connections=4", "--close", "--until-eof", "--pause=0.01"]
        with cluster.client_in_background("client", here, *words) as load:
            for pod in _pods(cluster, here)[:2]:
                cluster("delete", "pod", pod, "-n", here, "--wait=true")
                cluster("rollout", "status", "deployment/orders", "-n", here, "--timeout=60s", timeout_s=70)
            report = load.finish()
        assert report["requests"] > 50
        failures[here], requests[here] = report["failures"], report["requests"]
    odd = [line for line in access_log(cluster, "client", meshed) if line.get("reason") or line["duration"] > 1]
    assert sum(failures[meshed].values()) <= sum(failures[plain].values()), (failures, requests, odd)


@pytest.mark.timeout(400)
def test_with_client_ip_affinity_all_connections_of_a_pod_go_to_one_replica(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(*_orders(workloads, here, sessionAffinity="ClientIP"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "orders", 8080)
    _load(cluster, here, 40)
    assert len(_taken(cluster, here)) == 1
    [chosen] = _taken(cluster, here)
    cluster("delete", "pod", chosen, "-n", here, "--wait=true")
    _load(cluster, here, 40)
    assert len(_taken(cluster, here)) == 1, "and to one other, when it is gone"


def test_ports_are_found_by_name_by_number_and_behind_another_number(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply([policy(here, "strict", mode="Strict")])
    server = workloads.pod("orders", here, "http")
    server["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": 8080}]
    ports = [
        {"name": "by-name", "port": 80, "targetPort": "web"},
        {"name": "by-number", "port": 81, "targetPort": 8080},
        {"name": "same", "port": 8080},
    ]
    service = workloads.service("orders", here, [])
    service["spec"]["ports"] = ports
    cluster.apply_ready(server, service, workloads.pod("client", here))
    for port in (80, 81, 8080):
        cluster.wait_reachable("client", here, "orders", port)
        assert cluster.client("client", here, "load", f"http://orders:{port}/", "--requests=2")["failed"] == 0
    assert {line["peer"] for line in access_log(cluster, "orders", here)} == {identity_of(here)}


def test_a_service_without_a_selector_leads_where_its_slice_says(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(workloads.pod("orders", here, "http"), workloads.pod("client", here))
    by_hand = workloads.service("by-hand", here, [8080])
    del by_hand["spec"]["selector"]
    cluster.apply([by_hand, _slice("by-hand", here, cluster.address_of("orders", here))])
    cluster.wait_reachable("client", here, "by-hand", 8080)
    assert cluster.client("client", here, "load", "http://by-hand:8080/", "--requests=3")["failed"] == 0
    assert all(line["peer"] for line in access_log(cluster, "orders", here)), "it is meshed all the same"


def test_a_local_service_is_served_on_its_node_and_says_when_nobody_is_there(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(*_orders(workloads, here, internalTrafficPolicy="Local"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "orders", 8080)
    assert cluster.client("client", here, "load", "http://orders:8080/", "--requests=3")["failed"] == 0
    elsewhere = workloads.service("elsewhere", here, [8080], internalTrafficPolicy="Local")
    del elsewhere["spec"]["selector"]
    address = cluster.address_of(_pods(cluster, here)[0], here)
    cluster.apply([elsewhere, _slice("elsewhere", here, address, nodeName="another-node")])

    def reason() -> bool:
        cluster.client("client", here, "load", "http://elsewhere:8080/", "--requests=1", "--close")
        return bool(access_log(cluster, "client", here)[-1]["reason"] == "no_local_endpoints")

    until("the refusal says why", reason)


def _orders(workloads: Workloads, namespace: str, **service: Any) -> Iterator[Manifest]:
    """Replicas that serve on for a moment when they are to end, as whoever must not lose a request has them do."""
    made = workloads.deployment("orders", namespace, "http", replicas=REPLICAS)
    made["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": 3}}}
    yield made
    yield workloads.service("orders", namespace, [8080], **service)


def _slice(service: str, namespace: str, address: str, **end: object) -> Manifest:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-1",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], **end}],
        "ports": [{"name": "port-8080", "protocol": "TCP", "port": 8080}],
    }


def _load(cluster: Cluster, namespace: str, requests: int) -> None:
    report = cluster.client("client", namespace, "load", "http://orders:8080/", f"--requests={requests}", "--close")
    assert (report["failed"], report["requests"]) == (0, requests)


def _pods(cluster: Cluster, namespace: str) -> list[str]:
    """The replicas that are not on their way out."""
    pods = [each["metadata"] for each in cluster.list("pods", namespace)]
    return [each["name"] for each in pods if each["name"].startswith("orders-") and "deletionTimestamp" not in each]


def _taken(cluster: Cluster, namespace: str) -> Counter[str]:
    """Connections that each replica took, as its sidecar logged them."""
    return Counter(
        {pod: count for pod in _pods(cluster, namespace) if (count := len(access_log(cluster, pod, namespace)))}
    )
