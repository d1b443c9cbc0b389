"""Limits of a policy, as its author applies them: who is refused, where it is told, and that others do not feel it."""

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, identity_of, metric, policy, proxy_log, until

pytestmark = [pytest.mark.usefixtures("handfast"), pytest.mark.slow_on_kubernetes]
HTTP, GREETER = 8080, 2525


@pytest.fixture
def shop(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> tuple[str, str]:
    """A meshed server `orders`, with a client in its namespace and one in another."""
    here, there = namespace("shop", inject=True), namespace("web", inject=True)
    cluster.apply_ready(
        *workloads.server("orders", here, "http"), workloads.pod("client", here), workloads.pod("client", there)
    )
    for where in (here, there):
        cluster.wait_reachable("client", where, f"orders.{here}", HTTP)
    return here, there


def load(cluster: Cluster, namespace: str, host: str, requests: int, connections: int = 1) -> dict[str, int]:
    """Connections of one request each; what came of them."""
    words = [f"--requests={requests}", f"--connections={connections}", "--close"]
    report = cluster.client("client", namespace, "load", f"http://{host}:{HTTP}/", *words)
    return {"done": report["requests"] - report["failed"], "failed": report["failed"]}


def refused(cluster: Cluster, namespace: str, reason: str) -> int:
    return metric(cluster, "orders", namespace, "handfast_denied_total", direction="in", reason=reason)


def test_a_client_over_its_rate_is_refused_and_another_is_not(cluster: Cluster, shop: tuple[str, str]) -> None:
    here, there = shop
    cluster.apply([policy(here, "rate", limits={"perClient": {"connectionsPerSecond": 1, "burst": 20}})])
    until(
        "the limit holds",
        lambda: load(cluster, here, "orders", 60)["failed"] and refused(cluster, here, "limit_client_rate"),
    )
    before = refused(cluster, here, "limit_client_rate")
    flood = load(cluster, here, "orders", 200)
    assert flood["failed"] > 100
    assert load(cluster, there, f"orders.{here}", 10) == {"done": 10, "failed": 0}
    until("each is counted", lambda: refused(cluster, here, "limit_client_rate") == before + flood["failed"])
    lines = [each for each in access_log(cluster, "orders", here) if each.get("reason") == "limit_client_rate"]
    assert {each["peer"] for each in lines} == {identity_of(here)}
    assert {each["rule"] for each in lines} == {f"MTLSPolicy {here}/rate"}
    said = f"MTLSPolicy {here}/rate lets 1 connections (at once 20) begin a second of a client"
    assert all(each["detail"].startswith(said) for each in lines)
    clients = [each for each in access_log(cluster, "client", here) if each["verdict"] == "refused"]
    assert {each["reason"] for each in clients} == {"limit"}
    assert not [each for each in proxy_log(cluster, "client", here) if "left out of the choice" in each["message"]]


def test_connections_over_the_limit_are_refused_until_one_ends_and_a_change_holds_at_once(
    cluster: Cluster, shop: tuple[str, str], workloads: Workloads
) -> None:
    here, there = shop
    cluster.apply_ready(*workloads.server("mail", here, "greeter"))
    cluster.wait_reachable("client", there, f"mail.{here}", GREETER)

    def greeted() -> bool:
        return bool(cluster.client("client", here, "greet", "mail", str(GREETER))["failed"] == 0)

    until("it is reached", greeted)
    hold = ("hold", f"mail.{here}", str(GREETER), "--seconds=120")
    with cluster.client_in_background("client", there, *hold) as held:
        assert held.next_line()
        cluster.apply([policy(here, "few", limits={"maxConnections": 1})])
        until("the limit holds", lambda: not greeted())
        denied = metric(cluster, "mail", here, "handfast_denied_total", direction="in", reason="limit_connections")
        assert denied >= 1
        assert held.next_line(), "what is open stays"
        cluster.apply([policy(here, "few", limits={"maxConnections": 2})])
        until("the higher limit holds", greeted)
        cluster.apply([policy(here, "few", limits={"maxConnections": 1})])
        until("the lower limit holds", lambda: not greeted())
        cluster.delete("mtlspolicy", "few", here)
        until("there is no limit any more", greeted)


def test_audit_refuses_nothing(cluster: Cluster, shop: tuple[str, str]) -> None:
    here, _there = shop
    cluster.apply([policy(here, "few", limits={"connectionsPerSecond": 1}, enforcement="Audit")])
    rule = f"MTLSPolicy {here}/few"
    until(
        "the log names the rule",
        lambda: (
            load(cluster, here, "orders", 10)["failed"] == 0
            and [each for each in access_log(cluster, "orders", here) if each.get("rule") == rule]
        ),
    )
    assert refused(cluster, here, "limit_rate") == 0


def test_handshakes_over_the_limit_leave_the_tunnels_that_stand_alone(
    cluster: Cluster, shop: tuple[str, str], workloads: Workloads
) -> None:
    here, _there = shop
    cluster.apply([policy(here, "few", limits={"handshakesPerSecond": 1})])
    address = cluster.address_of("orders", here)
    flood = f"for n in $(seq 40); do (exec 3<>/dev/tcp/{address}/14008) 2>/dev/null; done; true"

    def refusals() -> int:
        cluster.on_node("bash", "-c", flood)
        return metric(
            cluster, "orders", here, "handfast_handshake_failures_total", side="server", reason="limit_handshakes"
        )

    until("handshakes are refused", lambda: refusals() > 20)
    assert load(cluster, here, "orders", 20) == {"done": 20, "failed": 0}
