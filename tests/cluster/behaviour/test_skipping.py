"""Ports and networks that a pod keeps out of the mesh by its annotations."""

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, identity_of, metric, policy

pytestmark = pytest.mark.usefixtures("handfast")


def served(cluster: Cluster, namespace: str, place: str) -> bool:
    """Whether `client` of the namespace gets an answer at a host and port."""
    words = ["load", f"http://{place}/", "--requests=1", "--close"]
    return bool(cluster.client("client", namespace, *words)["failed"] == 0)


def carried(cluster: Cluster, namespace: str) -> float:
    """Connections of `client` that its sidecar has seen."""
    return metric(cluster, "client", namespace, "handfast_connections_opened_total", direction="out")


def test_a_skipped_outbound_port_is_not_carried_and_others_are(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(
        *workloads.server("orders", here, "http"),
        *workloads.server("mail", here, "greeter"),
        workloads.pod("client", here, annotations={"handfast.dev/skip-outbound-ports": "8000-8100"}),
    )
    cluster.wait_reachable("client", here, "orders", 8080)
    assert served(cluster, here, "orders:8080")
    assert carried(cluster, here) == 0
    assert {line["peer"] for line in access_log(cluster, "orders", here)} == {None}, "it came in plaintext"
    cluster.wait_reachable("client", here, "mail", 2525)
    assert carried(cluster, here) >= 1
    assert metric(cluster, "client", here, "handfast_tunnels", side="client") == 1


def test_a_skipped_network_is_not_carried_and_others_are(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(*workloads.server("orders", here, "http"))
    address = cluster.address_of("orders", here)
    skipped = {"handfast.dev/skip-outbound-cidrs": f"{address}/32, 192.0.2.0/24, 2001:db8::/32"}
    cluster.apply_ready(workloads.pod("client", here, annotations=skipped))
    cluster.wait_reachable("client", here, address, 8080)
    assert served(cluster, here, f"{address}:8080")
    assert carried(cluster, here) == 0
    cluster.wait_reachable("client", here, "orders", 8080)
    assert carried(cluster, here) >= 1, "the Service has another address"


def test_a_skipped_inbound_port_is_open_to_plaintext_and_peers_still_come_through_tunnels(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    shop, outside = namespace("shop", inject=True), namespace("outside")
    cluster.apply([policy(shop, "strict", mode="Strict")])
    cluster.apply_ready(
        *workloads.server("orders", shop, "http", annotations={"handfast.dev/skip-inbound-ports": "8080"}),
        *workloads.server("guarded", shop, "http"),
        workloads.pod("client", shop),
        workloads.pod("client", outside),
    )
    cluster.wait_reachable("client", shop, "orders", 8080)
    cluster.wait_reachable("client", outside, f"orders.{shop}", 8080)
    assert served(cluster, outside, f"orders.{shop}:8080"), "nothing guards a skipped port"
    assert not served(cluster, outside, f"guarded.{shop}:8080")
    assert served(cluster, shop, "orders:8080")
    lines = access_log(cluster, "orders", shop)
    assert {line["peer"] for line in lines} == {identity_of(shop)}, "the sidecar has not seen the others"
    assert {line["tls"]["version"] for line in lines} == {"TLSv1.3"}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("skip-inbound-ports", "14008", "'14008' has port 14008, which belongs to the sidecar"),
        ("skip-outbound-ports", "http", "'http' is no port: expected a number from 1 to 65535"),
        ("skip-outbound-cidrs", "10.0.0.1/8", "'10.0.0.1/8' has bits behind its prefix: write 10.0.0.0/8"),
    ],
)
def test_what_cannot_be_skipped_is_refused_with_the_pod_and_the_annotation(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, name: str, value: str, sentence: str
) -> None:
    here = namespace(inject=True)
    with pytest.raises(ClusterError) as refused:
        cluster.apply([workloads.pod("orders", here, "http", annotations={f"handfast.dev/{name}": value})])
    assert f"the pod {here}/orders is refused" in str(refused.value)
    assert f"handfast.dev/{name} cannot be used: {sentence}" in str(refused.value)
