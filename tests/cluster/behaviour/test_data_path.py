"""Plaintext in, mutual TLS between, plaintext out: two unchanged applications on a real Kubernetes."""

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, identity_of, metric, policy, proxy_log, until
from cluster.release import Release
from handfast_sidecar.wellknown import MESH_PORT

pytestmark = pytest.mark.usefixtures("handfast")


def test_between_two_pods_the_wire_carries_tls_1_3_and_no_plaintext(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    shop, web = namespace("shop", inject=True), namespace("web", inject=True)
    cluster.apply_ready(*workloads.server("orders", shop, "http"), workloads.pod("client", web))
    cluster.wait_reachable("client", web, f"orders.{shop}", 8080)
    client, server = cluster.address_of("client", web), cluster.address_of("orders", shop)
    with cluster.capture(server) as captured:
        report = cluster.client("client", web, "load", f"http://orders.{shop}:8080/", "--requests=20")
    assert (report["failed"], report["requests"]) == (0, 20)
    wire = captured.between(client, server)
    assert {way.target_port for way in wire if way.source == client} == {MESH_PORT}
    assert sum(map(len, wire.values())) > 20 * 100
    assert not any(plaintext in sent for sent in wire.values() for plaintext in (b"hello from orders", b"HTTP/1.1"))
    lines = access_log(cluster, "orders", shop)
    assert {line["peer"] for line in lines} == {identity_of(web)}
    assert {line["own"] for line in lines} == {identity_of(shop)}
    assert {line["tls"]["version"] for line in lines} == {"TLSv1.3"}
    assert {line["tls"]["group"] for line in lines} == {"X25519MLKEM768"}


def test_the_first_connection_is_a_tls_1_3_handshake_on_the_mesh_port(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    server = cluster.address_of("orders", here)
    with cluster.capture(server) as captured:
        cluster.wait_reachable("client", here, "orders", 8080)
    assert (server, MESH_PORT) in captured.tls13_servers()


@pytest.mark.parametrize("mode", ["Strict", "Permissive"])
def test_a_server_that_speaks_first_is_heard(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, mode: str
) -> None:
    here = namespace(inject=True)
    cluster.apply(policy(here, "mode", mode=mode))
    cluster.apply_ready(*workloads.server("mail", here, "greeter"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "mail", 2525)
    report = cluster.client("client", here, "greet", "mail", "2525", "--line=hello")
    assert (report["failed"], report["reply"]) == (0, "HELLO")
    assert metric(cluster, "client", here, "handfast_tunnels", side="client") == 1


def test_headless_services_and_pod_addresses_are_meshed_too(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply(policy(here, "strict", mode="Strict"))
    cluster.apply_ready(
        workloads.pod("orders", here, "http"),
        workloads.service("orders", here, [8080], headless=True),
        workloads.pod("client", here),
    )
    for host in (f"orders.{here}", cluster.address_of("orders", here)):
        cluster.wait_reachable("client", here, host, 8080)
        assert cluster.client("client", here, "load", f"http://{host}:8080/", "--requests=5")["failed"] == 0
    assert all(line["peer"] for line in access_log(cluster, "orders", here))


def test_a_half_close_arrives_as_one(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(*workloads.server("sink", here, "sink"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "sink", 9000)
    report = cluster.client("client", here, "send", "sink", "9000", "--zeros=3000000")
    assert report["answer"] == "received 3000000\n"


def test_kubelets_probes_pass_under_strict(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> None:
    here = namespace(inject=True)
    cluster.apply(policy(here, "strict", mode="Strict"))
    cluster.apply_ready(
        workloads.pod("by-http", here, "http", probe=workloads.http_probe()),
        workloads.pod("by-tcp", here, "greeter"),
        workloads.pod("by-grpc", here, "grpc", probe=workloads.grpc_probe()),
    )
    assert metric(cluster, "by-http", here, "handfast_denied_total") == 0


def test_a_probe_that_the_application_fails_fails(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    wrong = workloads.pod("wrong", here, "http", probe=workloads.http_probe("/no-such-path"))
    cluster.apply([wrong])
    cluster.wait("pod", "wrong", "jsonpath={.status.initContainerStatuses[1].ready}=true", here)
    event = until(
        "an Unhealthy event",
        lambda: cluster("get", "events", "-n", here, "-o", "name", "--field-selector=reason=Unhealthy"),
    )
    assert event
    cluster.wait("pod", "wrong", "condition=Ready=false", here)


def test_init_containers_have_the_network_and_a_job_completes(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply(policy(here, "strict", mode="Strict"))
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "orders", 8080)
    first = workloads.container("load", "http://orders:8080/", "--requests=3", name="first")
    cluster.apply(
        [workloads.job("batch", here, "load", "http://orders:8080/", "--requests=10", initContainers=[first])]
    )
    cluster.wait("job", "batch", "condition=Complete", here)


def test_deleting_a_pod_lets_what_it_serves_finish(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(
        *workloads.server("orders", here, "http", terminationGracePeriodSeconds=30), workloads.pod("client", here)
    )
    cluster.wait_reachable("client", here, "orders", 8080)
    words = ["load", "http://orders:8080/slow/5", "--requests=1", "--timeout=20"]
    opened = metric(cluster, "orders", here, "handfast_connections_opened_total", encrypted="true")
    with cluster.client_in_background("client", here, *words) as client:
        until(
            "the request is under way",
            lambda: metric(cluster, "orders", here, "handfast_connections_opened_total", encrypted="true") > opened,
        )
        cluster.delete("pod", "orders", here, wait=False)
        assert client.report()["failed"] == 0


def test_what_is_outside_the_mesh_is_passed_on(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    meshed, plain = namespace("meshed", inject=True), namespace("plain")
    cluster.apply_ready(*workloads.server("orders", plain, "http"), workloads.pod("client", meshed))
    cluster.wait_reachable("client", meshed, f"orders.{plain}", 8080)
    assert cluster.client("client", meshed, "load", f"http://orders.{plain}:8080/", "--requests=5")["failed"] == 0
    assert metric(cluster, "client", meshed, "handfast_plaintext_connections_total", direction="out") >= 1


def test_no_key_or_token_is_in_a_log(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(workloads.pod("orders", here, "http"))
    text = str(proxy_log(cluster, "orders", here)) + handfast.logs("handfast-controller")
    assert "PRIVATE KEY" not in text
    assert "eyJ" not in text
