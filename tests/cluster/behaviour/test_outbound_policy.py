"""`outbound` of a policy: what a pod may send unencrypted, and that its own log says why it may not."""

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.manifests import Manifest
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, cluster_policy, metric, policy, proxy_log, until

pytestmark = [pytest.mark.usefixtures("handfast"), pytest.mark.slow_on_kubernetes]
HTTP, GREETER, ON_THE_NODE = 8080, 2525, 18088


@pytest.fixture
def shop(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> tuple[str, str]:
    """A meshed client and server, and outside a server without a sidecar and one on the node's address."""
    here, outside = namespace("shop", inject=True), namespace("outside")
    on_the_node = workloads.pod(
        "node", outside, "http", f"--port={ON_THE_NODE}", hostNetwork=True, probe=workloads.tcp_probe(ON_THE_NODE)
    )
    cluster.apply_ready(
        *workloads.server("orders", here, "http"),
        workloads.pod("client", here),
        *workloads.server("legacy", outside, "http"),
        on_the_node,
    )
    for host, port in (("orders", HTTP), (f"legacy.{outside}", HTTP), (cluster.node_address, ON_THE_NODE)):
        cluster.wait_reachable("client", here, host, port)
    return here, outside


def served(cluster: Cluster, namespace: str, host: str, port: int = HTTP) -> bool:
    words = ["load", f"http://{host}:{port}/", "--requests=1", "--close"]
    return bool(cluster.client("client", namespace, *words)["failed"] == 0)


def refusal(cluster: Cluster, namespace: str) -> Manifest:
    """What the client's own log last said of a connection that it refused."""
    return [
        each for each in proxy_log(cluster, "client", namespace) if "outbound connection refused" in each["message"]
    ][-1]


def test_plaintext_refused_ends_what_is_open_and_names_the_destination_and_the_remedy(
    cluster: Cluster, shop: tuple[str, str], workloads: Workloads
) -> None:
    here, outside = shop
    legacy, mail = f"legacy.{outside}", f"mail.{outside}"
    cluster.apply_ready(*workloads.server("mail", outside, "greeter"))
    cluster.wait_reachable("client", here, mail, GREETER)
    with cluster.client_in_background("client", here, "hold", mail, str(GREETER), "--seconds=120") as held:
        assert held.next_line()
        cluster.apply([policy(here, "closed", outbound={"plaintext": "Refuse"})])
        until("plaintext is refused", lambda: not served(cluster, here, legacy))
        until(
            "what was open has ended",
            lambda: [each for each in access_log(cluster, "client", here) if each.get("reason") == "policy_changed"],
        )
    told = refusal(cluster, here)
    assert (told["reason"], told["rule"]) == ("outbound_plaintext_refused", f"MTLSPolicy {here}/closed")
    assert f"the Service {outside}/legacy" in told["detail"]
    assert "outbound.except" in told["detail"]
    assert not served(cluster, here, cluster.address_of("legacy", outside)), "its pod, by its own address"
    assert f"the pod {outside}/legacy" in refusal(cluster, here)["detail"]
    line = [each for each in access_log(cluster, "client", here) if each["verdict"] == "refused"][-1]
    assert (line["reason"], line["rule"]) == ("outbound_plaintext_refused", f"MTLSPolicy {here}/closed")
    assert metric(cluster, "client", here, "handfast_denied_total", reason="outbound_plaintext_refused") >= 2
    assert served(cluster, here, "orders"), "a tunnel"
    assert served(cluster, here, cluster.node_address, ON_THE_NODE), "an address that is nobody's"


def test_unknown_refused_is_about_addresses_that_are_nobodys(cluster: Cluster, shop: tuple[str, str]) -> None:
    here, outside = shop
    cluster.apply([policy(here, "closed", outbound={"unknown": "Refuse"})])
    until("it is refused", lambda: not served(cluster, here, cluster.node_address, ON_THE_NODE))
    told = refusal(cluster, here)
    assert (told["reason"], told["rule"]) == ("outbound_unknown_refused", f"MTLSPolicy {here}/closed")
    assert f"{cluster.node_address}:{ON_THE_NODE} is the address of no pod and of no Service" in told["detail"]
    assert served(cluster, here, f"legacy.{outside}"), "a pod without a sidecar"
    assert served(cluster, here, "orders"), "a tunnel"


def test_what_is_excepted_is_reached_and_the_list_is_inherited(cluster: Cluster, shop: tuple[str, str]) -> None:
    here, outside = shop
    name, selector = f"closed-{here}", {"matchLabels": {"kubernetes.io/metadata.name": here}}
    node = {"cidr": f"{cluster.node_address}/32", "ports": [ON_THE_NODE]}
    closed = {"unknown": "Refuse", "plaintext": "Refuse"}
    try:
        cluster.apply([cluster_policy(name, namespaceSelector=selector, outbound=closed)])
        until("both are refused", lambda: not served(cluster, here, f"legacy.{outside}"))
        assert not served(cluster, here, cluster.node_address, ON_THE_NODE)
        open_to = {"except": [{"service": f"{outside}/legacy"}, node]}
        cluster.apply([cluster_policy(name, namespaceSelector=selector, outbound=closed | open_to)])
        until("the Service is reached", lambda: served(cluster, here, f"legacy.{outside}"))
        assert served(cluster, here, cluster.node_address, ON_THE_NODE)
        assert not served(cluster, here, cluster.address_of("legacy", outside)), "its pod is not its Service"
        cluster.apply([policy(here, "own", outbound={"except": [node]})])
        until("the namespace's own list holds", lambda: not served(cluster, here, f"legacy.{outside}"))
        assert served(cluster, here, cluster.node_address, ON_THE_NODE)
        cluster.apply([policy(here, "own", outbound={"plaintext": "Allow"})])
        until("the namespace's own word holds", lambda: served(cluster, here, cluster.address_of("legacy", outside)))
    finally:
        cluster.delete("clustermtlspolicy", name)


def test_audit_refuses_nothing(cluster: Cluster, shop: tuple[str, str]) -> None:
    here, outside = shop
    cluster.apply([policy(here, "closed", outbound={"plaintext": "Refuse"}, enforcement="Audit")])
    rule = f"MTLSPolicy {here}/closed"
    until(
        "the log names the rule",
        lambda: (
            served(cluster, here, f"legacy.{outside}")
            and [each for each in access_log(cluster, "client", here) if each.get("rule") == rule]
        ),
    )
    assert metric(cluster, "client", here, "handfast_denied_total", reason="outbound_plaintext_refused") == 0
