"""What people run in their clusters, for minutes, by every way that leads to a pod, while certificates rotate."""

import json
import os
from collections.abc import Callable

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory, Record
from cluster.kube.manifests import Manifest
from cluster.kube.workloads import Workloads
from cluster.mesh import loaded_until, metric, policy, until

pytestmark = pytest.mark.usefixtures("handfast")
PORTS = {"postgresql": 5432, "redis": 6379, "nginx": 8080, "grpc": 50051}
LOAD_S = int(os.environ.get("HANDFAST_EVERYDAY_S", "330"))
"""Seconds of the load; two rotations of leaves that live the shortest time need about 250."""
WAYS = ("service", "headless", "pod")


@pytest.mark.timeout(LOAD_S + 400)
def test_postgresql_redis_nginx_and_grpc_notice_neither_the_mesh_nor_two_rotations(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, record_property: Record
) -> None:
    here = namespace(inject=True)
    cluster.apply(policy(here, "short", mode="Strict", certificate={"ttl": "5m"}))
    servers = [server(workloads, name, here) for name in PORTS]
    cluster.apply_ready(
        *servers,
        *(workloads.service(name, here, [port]) for name, port in PORTS.items()),
        *(
            workloads.service(f"{name}-headless", here, [port], headless=True, selector={"app": name})
            for name, port in PORTS.items()
        ),
        workloads.pod("talker", here),
        *workloads.server("mail", here, "greeter"),
    )
    cluster.wait_reachable("talker", here, "mail", 2525)
    for name, port in PORTS.items():
        cluster.wait_reachable("talker", here, name, port)
    hosts = {
        "service": {name: name for name in PORTS},
        "headless": {name: f"{name}-headless" for name in PORTS},
        "pod": {name: cluster.address_of(name, here) for name in PORTS},
    }
    cluster.apply(load(workloads, way, here, hosts[way]) for way in WAYS)
    names = (*PORTS, "talker", "mail")
    with cluster.client_in_background(
        "talker", here, "hold", "mail", "2525", f"--seconds={LOAD_S}", "--pause=1"
    ) as hold:
        first = {name: loaded_until(cluster, name, here) for name in names}
        second = {name: until(f"{name} rotates", _later_than(cluster, name, here, first[name]), 220) for name in names}
        for name in names:
            until(f"{name} rotates again", _later_than(cluster, name, here, second[name]), 220)
        for way in WAYS:
            until(f"the load by {way} ends", lambda way=way: _ended(cluster, way, here), LOAD_S + 120)  # type: ignore[misc]
        held = hold.report(timeout_s=LOAD_S)
    for way in WAYS:
        report = json.loads(cluster.logs(f"job/{way}", here, container="app").splitlines()[-1])
        record_property(f"everyday by {way}", report)
        assert report["failed"] == 0, report
    assert (held["failed"], held["closed"]) == (0, None), "one connection outlived both rotations"
    for name in names:
        pod = cluster.get("pod", name, here)
        assert all(each["restartCount"] == 0 for each in pod["status"]["initContainerStatuses"])
        assert metric(cluster, name, here, "handfast_tunnels_closed_total", reason="certificate_expired") == 0
        assert metric(cluster, name, here, "handfast_plaintext_connections_total") == 0


def server(workloads: Workloads, name: str, namespace: str) -> Manifest:
    """A pod that serves one of the four, Ready when its port answers."""
    pod = workloads.pod(name, namespace, volumes=[{"name": "tmp", "emptyDir": {}}])
    port = PORTS[name]
    pod["spec"]["containers"] = [
        workloads.container(
            name,
            command=["everyday"],
            ports=[{"containerPort": port}],
            readinessProbe=workloads.tcp_probe(port),
            volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}],
        )
    ]
    return pod


def load(workloads: Workloads, way: str, namespace: str, hosts: dict[str, str]) -> Manifest:
    """A Job that uses all four at these hosts."""
    job = workloads.job(way, namespace)
    words = ["load", f"--seconds={LOAD_S}", *(f"--{name}={host}" for name, host in hosts.items())]
    job["spec"]["template"]["spec"]["containers"] = [workloads.container(*words, command=["everyday"])]
    return job


def _later_than(cluster: Cluster, pod: str, namespace: str, moment: float) -> Callable[[], float]:
    def look() -> float:
        now = loaded_until(cluster, pod, namespace)
        return now if now > moment else 0

    return look


def _ended(cluster: Cluster, job: str, namespace: str) -> bool:
    status = cluster.get("job", job, namespace).get("status", {})
    return bool(status.get("succeeded") or status.get("failed"))
