"""A host port leads into a meshed pod from outside the mesh: what the Event about it says is what happens."""

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, policy, until
from cluster.release import Release

HOST_PORT = 18091


def test_plaintext_from_a_host_port_is_refused_under_strict_and_served_where_the_port_is_permissive(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    meshed, outside = namespace("shop", inject=True), namespace("outside")
    web = workloads.pod("web", meshed, "http")
    web["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": HOST_PORT}]
    cluster.apply_ready(web, workloads.pod("client", outside))
    target = f"http://{cluster.get('pod', 'web', meshed)['status']['hostIP']}:{HOST_PORT}/"

    def served() -> bool:
        return bool(cluster.client("client", outside, "load", target, "--requests=1", "--close")["failed"] == 0)

    until("the host port leads to the pod", served)
    cluster.apply([policy(meshed, "strict", mode="Strict")])
    until("it is refused", lambda: not served())
    assert access_log(cluster, "web", meshed)[-1]["reason"] == "plaintext_refused"
    cluster.apply([policy(meshed, "strict", mode="Strict", ports=[{"port": 8080, "mode": "Permissive"}])])
    until("it is served again", served)
