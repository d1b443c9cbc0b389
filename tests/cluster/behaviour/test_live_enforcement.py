"""A policy that forbids a connection in flight ends it; one that does not leaves it alone."""

import time

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import PORTS, Workloads
from cluster.mesh import access_log, identity_of, metric, policy, proxy_log, until

pytestmark = [pytest.mark.usefixtures("handfast"), pytest.mark.slow_on_kubernetes]
GREETER = PORTS["greeter"]


@pytest.fixture
def shop(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> tuple[str, str]:
    """A server `mail`, and two service accounts that dial it from namespaces of their own; one is outside the mesh."""
    meshed, outside = namespace("shop", inject=True), namespace("outside")
    cluster.apply_ready(
        *workloads.server("mail", meshed, "greeter"),
        workloads.pod("client", meshed),
        workloads.pod("client", outside),
    )
    for where in (meshed, outside):
        cluster.wait_reachable("client", where, f"mail.{meshed}", GREETER)
    return meshed, outside


def test_a_deny_ends_a_connection_in_flight_within_a_second_and_leaves_others_alone(
    cluster: Cluster, shop: tuple[str, str], workloads: Workloads, namespace: NamespaceFactory
) -> None:
    meshed, _outside = shop
    web = namespace("web", inject=True)
    cluster.apply_ready(workloads.pod("client", web))
    cluster.wait_reachable("client", web, f"mail.{meshed}", GREETER)
    words = ("hold", f"mail.{meshed}", str(GREETER), "--seconds=60", "--pause=0.05")
    with (
        cluster.client_in_background("client", meshed, *words) as stays,
        cluster.client_in_background("client", web, *words) as goes,
    ):
        for client in (stays, goes):
            client.next_line()
        cluster.apply([policy(meshed, "no-web", deny=[{"from": [{"namespace": web}]}])])
        applied = time.time()
        assert "ConnectionResetError" in goes.report()["closed"]
        assert time.time() - applied < 1 + 1, "one second, and one for kubectl exec"
        for _ in range(20):
            stays.next_line()
    [line] = until(
        "its line is written",
        lambda: [each for each in access_log(cluster, "mail", meshed) if each.get("reason") == "policy_changed"],
    )
    assert (line["verdict"], line["peer"], line["rule"]) == ("allowed", identity_of(web), f"MTLSPolicy {meshed}/no-web")
    assert line["detail"] == f"MTLSPolicy {meshed}/no-web denies {identity_of(web)} on port {GREETER}"
    assert metric(cluster, "mail", meshed, "handfast_connections_closed_total", reason="policy_changed") == 1
    told = [each for each in proxy_log(cluster, "mail", meshed) if each.get("reason") == "policy_changed"]
    assert any(each["level"] == "warning" and each.get("connections") == 1 for each in told), told


def test_strict_ends_plaintext_in_flight_and_audit_does_not(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, outside = shop
    words = ("hold", f"mail.{meshed}", str(GREETER), "--seconds=60", "--pause=0.05")
    with cluster.client_in_background("client", outside, *words) as client:
        client.next_line()
        cluster.apply([policy(meshed, "strict", mode="Strict", enforcement="Audit")])
        until(
            "it is audited",
            lambda: metric(
                cluster, "mail", meshed, "handfast_audited_total", direction="in", reason="plaintext_refused"
            ),
        )
        for _ in range(20):
            client.next_line()
        cluster.apply([policy(meshed, "strict", mode="Strict", enforcement="Enforce")])
        assert "ConnectionResetError" in client.report()["closed"]
    [line] = until(
        "its line is written",
        lambda: [each for each in access_log(cluster, "mail", meshed) if each.get("reason") == "policy_changed"],
    )
    assert (line["peer"], line["rule"]) == (None, f"MTLSPolicy {meshed}/strict")
    assert f"MTLSPolicy {meshed}/strict asks for Strict on port {GREETER}" in line["detail"]
