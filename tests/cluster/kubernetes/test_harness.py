"""The cluster itself works: where one of these fails, no other cluster test says anything about Handfast."""

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.workloads import Workloads


def test_the_node_is_ready(cluster: Cluster) -> None:
    [node] = cluster.list("nodes")
    cluster.wait("node", node["metadata"]["name"], "condition=Ready")


def test_a_pod_with_a_native_sidecar_becomes_ready(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace()
    sidecar = workloads.container("greeter", name="sidecar", restartPolicy="Always")
    cluster.apply_ready(workloads.pod("web", here, "http", initContainers=[sidecar]))


def test_a_service_is_reached_by_its_name(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> None:
    here = namespace()
    cluster.apply_ready(*workloads.server("web", here, "http"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "web", 8080)
    report = cluster.client("client", here, "load", f"http://web.{here}.svc.cluster.local:8080/", "--requests=20")
    assert report["failed"] == 0
    assert report["requests"] == 20


def test_exec_and_logs_reach_a_pod(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> None:
    here = namespace()
    cluster.apply_ready(workloads.pod("web", here, "http"))
    assert cluster.exec("web", here, ["id", "-u"]).strip() == "10001"
    assert cluster.logs("web", here) == ""


def test_server_first_and_grpc_applications_answer(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace()
    grpc = workloads.server("grpc", here, "grpc", probe=workloads.grpc_probe())
    servers = [*workloads.server("greeter", here, "greeter"), *workloads.server("sink", here, "sink"), *grpc]
    cluster.apply_ready(*servers, workloads.pod("client", here))
    for name, port in (("greeter", 2525), ("sink", 9000), ("grpc", 50051)):
        cluster.wait_reachable("client", here, name, port)
    assert cluster.client("client", here, "greet", "greeter", "2525", "--line=hi")["reply"] == "HI"
    assert cluster.client("client", here, "send", "sink", "9000", "--zeros=70000")["answer"] == "received 70000\n"
    assert cluster.client("client", here, "grpc-check", "grpc", "50051")["failed"] == 0


def test_a_long_connection_is_followed_while_it_lives(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace()
    cluster.apply_ready(*workloads.server("greeter", here, "greeter"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "greeter", 2525)
    words = ["hold", "greeter", "2525", "--seconds=60", "--pause=0.1"]
    with cluster.client_in_background("client", here, *words) as client:
        assert client.next_line()["answered"] == 1
        cluster("delete", "pod", "greeter", "--now", "--wait=false", f"--namespace={here}")
        assert client.report()["failed"] == 1


def test_a_capture_on_the_bridge_sees_what_pods_say_in_plain(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace()
    cluster.apply_ready(*workloads.server("web", here, "http"), workloads.pod("client", here))
    server, client = (cluster.address_of(pod, here) for pod in ("web", "client"))
    with cluster.capture(server) as capture:
        cluster.client("client", here, "load", f"http://{server}:8080/", "--requests=1")
    assert capture.contains(b"hello from web")
    assert capture.between(client, server, 8080)
    assert not capture.tls13_servers()


def test_a_refused_object_is_told_in_the_servers_words(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="Invalid value"):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "No_Name"}})


def test_nothing_leads_out_of_the_machine(cluster: Cluster) -> None:
    assert "default" not in cluster.on_node("ip", "route")
