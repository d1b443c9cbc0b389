"""Explicit mode: no redirect and no privilege; clients dial their upstreams on loopback, servers may listen there."""

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, identity_of, metric, policy, proxy_log, until
from handfast_sidecar.wellknown import INBOUND_PORT, OUTBOUND_PORT

pytestmark = pytest.mark.usefixtures("handfast")
NONE = {"handfast.dev/interception": "none"}


def dialling(*upstreams: str) -> dict[str, str]:
    """The annotations of a pod in explicit mode with these upstreams."""
    return {**NONE, "handfast.dev/upstreams": "\n".join(upstreams)}


def served(cluster: Cluster, namespace: str, place: str, *options: str) -> bool:
    """Whether `client` of the namespace gets answers at a host and port."""
    words = ["load", f"http://{place}/", "--requests=3", "--close", *options]
    return bool(cluster.client("client", namespace, *words)["failed"] == 0)


def test_an_upstream_that_is_dialled_on_loopback_is_reached_through_a_tunnel(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    shop, web = namespace("shop", inject=True), namespace("web", inject=True)
    cluster.apply([policy(shop, "strict", mode="Strict")])
    by_pod = workloads.service("by-pod", shop, [8080], headless=True, selector={"app": "orders"})
    cluster.apply_ready(*workloads.server("orders", shop, "http"), by_pod)
    address = cluster.address_of("orders", shop)
    upstreams = dialling(f"18080=orders.{shop}:8080", f"18081=by-pod.{shop}.svc:8080", f"18082={address}:8080")
    cluster.apply_ready(workloads.pod("client", web, annotations=upstreams))
    containers = cluster.get("pod", "client", web)["spec"]["initContainers"]
    assert [each["name"] for each in containers] == ["handfast-proxy"]
    for port in (18080, 18081, 18082):
        cluster.wait_reachable("client", web, "127.0.0.1", port)
        assert served(cluster, web, f"127.0.0.1:{port}")
    lines = access_log(cluster, "orders", shop)
    assert len(lines) >= 9
    assert {(line["peer"], line["own"]) for line in lines} == {(identity_of(web), identity_of(shop))}
    assert {line["tls"]["version"] for line in lines} == {"TLSv1.3"}
    assert metric(cluster, "client", web, "handfast_plaintext_connections_total") == 0


def test_upstreams_are_there_beside_interception_too(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply([policy(here, "strict", mode="Strict")])
    declared = {"handfast.dev/upstreams": "18080=orders:8080"}
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here, annotations=declared))
    for host, port in (("127.0.0.1", 18080), ("orders", 8080)):
        cluster.wait_reachable("client", here, host, port)
        assert served(cluster, here, f"{host}:{port}")
    assert {line["peer"] for line in access_log(cluster, "orders", here)} == {identity_of(here)}


def test_what_is_not_dialled_as_an_upstream_goes_as_it_is_and_strict_refuses_it(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply([policy(here, "strict", mode="Strict")])
    cluster.apply_ready(
        *workloads.server("orders", here, "http"),
        workloads.pod("client", here, annotations=dialling("18080=orders:8080")),
    )
    cluster.wait_reachable("client", here, "127.0.0.1", 18080)
    assert served(cluster, here, "127.0.0.1:18080"), "a short name is found by the pod's search domains"
    assert not served(cluster, here, "orders:8080")
    refused = [line for line in access_log(cluster, "orders", here) if line["verdict"] == "refused"]
    assert {line["reason"] for line in refused} == {"plaintext_refused"}


def test_an_application_on_loopback_alone_is_reached_by_peers_and_by_nobody_else(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    shop, web, outside = namespace("shop", inject=True), namespace("web", inject=True), namespace("outside")
    cluster.apply_ready(
        workloads.pod("orders", shop, "http", "--host=127.0.0.1", annotations=NONE),
        workloads.service("orders", shop, [8080]),
        workloads.pod("client", web),
        workloads.pod("client", outside),
    )
    cluster.wait_reachable("client", web, f"orders.{shop}", 8080)
    assert served(cluster, web, f"orders.{shop}:8080")
    address = cluster.address_of("orders", shop)
    assert served(cluster, web, f"{address}:8080")
    assert not served(cluster, outside, f"{address}:8080")
    lines = access_log(cluster, "orders", shop)
    assert {line["peer"] for line in lines} == {identity_of(web)}
    assert {line["verdict"] for line in lines} == {"allowed"}
    for port in (OUTBOUND_PORT, INBOUND_PORT):
        report = cluster.client("client", outside, "send", address, str(port), "--zeros=1")
        assert "ConnectionRefusedError" in report["error"], "nothing is redirected, so nothing listens for it"


def test_two_pods_in_explicit_mode_talk_through_a_tunnel(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply([policy(here, "strict", mode="Strict")])
    cluster.apply_ready(
        workloads.pod("mail", here, "greeter", "--host=127.0.0.1", annotations=NONE),
        workloads.service("mail", here, [2525]),
        workloads.pod("client", here, annotations=dialling("12525=mail:2525")),
    )
    cluster.wait_reachable("client", here, "127.0.0.1", 12525)
    report = cluster.client("client", here, "greet", "127.0.0.1", "12525", "--line=hello")
    assert (report["failed"], report["reply"]) == (0, "HELLO")
    assert metric(cluster, "client", here, "handfast_tunnels", side="client") == 1


def test_strict_cannot_hold_for_a_port_on_every_address_and_the_sidecar_says_so(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    shop, outside = namespace("shop", inject=True), namespace("outside")
    cluster.apply([policy(shop, "strict", mode="Strict")])
    cluster.apply_ready(
        *workloads.server("orders", shop, "http", annotations=NONE),
        workloads.pod("client", shop),
        workloads.pod("client", outside),
    )
    cluster.wait_reachable("client", shop, "orders", 8080)
    assert served(cluster, shop, "orders:8080")
    assert served(cluster, outside, f"{cluster.address_of('orders', shop)}:8080"), "which is what the warning is for"
    [warning] = [line for line in proxy_log(cluster, "orders", shop) if "open to everybody" in line.get("message", "")]
    assert f"MTLSPolicy {shop}/strict asks for Strict" in warning["detail"]
    assert "let it listen on 127.0.0.1" in warning["detail"]


def test_an_upstream_whose_name_nobody_has_is_a_reset_with_its_reason(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(workloads.pod("client", here, annotations=dialling("18080=nobody:8080")))
    assert not served(cluster, here, "127.0.0.1:18080", "--timeout=20")
    until(
        "a refusal that names the reason",
        lambda: [line for line in access_log(cluster, "client", here) if line.get("reason") == "no_such_host"],
    )


@pytest.mark.parametrize(
    ("annotations", "sentence"),
    [
        ({"handfast.dev/interception": "off"}, "handfast.dev/interception is 'off': expected 'redirect', or 'none'"),
        (dialling("8080=db:1"), "port 8080 is declared by the container 'app'"),
        (dialling("18080=db"), "'18080=db' is no upstream: expected LOCAL=HOST:PORT"),
    ],
)
def test_a_wish_that_cannot_be_followed_is_refused_with_the_pod_and_the_annotation(
    cluster: Cluster,
    workloads: Workloads,
    namespace: NamespaceFactory,
    annotations: dict[str, str],
    sentence: str,
) -> None:
    here = namespace(inject=True)
    with pytest.raises(ClusterError) as refused:
        cluster.apply([workloads.pod("orders", here, "http", annotations=annotations)])
    assert f"the pod {here}/orders is refused" in str(refused.value)
    assert sentence in str(refused.value)
