"""Access that is asked for, granted, and ends: by the clock, or because its owner took it back."""

from datetime import UTC, datetime, timedelta

import pytest

from cluster.answering import access_grant, access_request, run_verb
from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.manifests import Manifest
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, metric, policy, until
from cluster.release import Release
from handfast_operator.cli import approve, deny, requests
from handfast_operator.cli.errors import CliError

pytestmark = pytest.mark.usefixtures("handfast")


@pytest.fixture
def closed_shop(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> tuple[str, str]:
    """A meshed server `orders` that lets nobody in, and a namespace with a meshed client."""
    shop, web = namespace("shop", inject=True), namespace("web", inject=True)
    cluster.apply([policy(shop, "closed", allow=[])])
    cluster.apply_ready(*workloads.server("orders", shop, "http"), workloads.pod("client", web))
    until("the shop is closed", lambda: _refused(cluster, web, shop))
    return shop, web


def _served(cluster: Cluster, web: str, shop: str) -> bool:
    report = cluster.client("client", web, "load", f"http://orders.{shop}:8080/", "--requests=1", "--close")
    return bool(report["failed"] == 0)


def _refused(cluster: Cluster, web: str, shop: str) -> bool:
    """Whether the policy refused a call: a failure alone may mean that the Service is not known yet."""
    _served(cluster, web, shop)
    return any(line.get("reason") == "denied" for line in access_log(cluster, "orders", shop))


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _conditions(found: Manifest) -> dict[str, str]:
    return {each["type"]: each["reason"] for each in (found.get("status") or {}).get("conditions") or ()}


def _state(cluster: Cluster, kind: str, name: str, namespace: str) -> str:
    return _conditions(cluster.get(kind, name, namespace)).get("Active", "")


def _only_grant(cluster: Cluster, shop: str) -> Manifest:
    [found] = cluster.list("accessgrants", shop)
    return found


def _events(cluster: Cluster, namespace: str) -> set[str]:
    return {each["reason"] for each in cluster.list("events", namespace)}


def test_a_request_opens_nothing_and_its_approval_does(cluster: Cluster, closed_shop: tuple[str, str]) -> None:
    shop, web = closed_shop
    cluster.apply([access_request(web, "orders", shop)])
    until("the request is seen", lambda: _state(cluster, "accessrequest", "orders", web) == "Pending")
    assert not _served(cluster, web, shop)
    assert run_verb(cluster, requests, shop) == 0
    assert run_verb(cluster, approve, shop, f"{web}/orders", "--for", "10m") == 0
    until("the caller is let in", lambda: _served(cluster, web, shop))
    grant = _only_grant(cluster, shop)
    line = [each for each in access_log(cluster, "orders", shop) if each["verdict"] == "allowed"][-1]
    assert line["rule"] == f"AccessGrant {shop}/{grant['metadata']['name']}"
    until("the request says so", lambda: _state(cluster, "accessrequest", "orders", web) == "InForce")
    until("the grant says so", lambda: _state(cluster, "accessgrant", grant["metadata"]["name"], shop) == "InForce")
    until("the caller is told", lambda: {"AccessRequested", "AccessApproved"} <= _events(cluster, web))
    until("the owner is told", lambda: "AccessApproved" in _events(cluster, shop))


def test_an_edited_request_changes_nothing_and_a_deleted_grant_ends(
    cluster: Cluster, closed_shop: tuple[str, str]
) -> None:
    shop, web = closed_shop
    cluster.apply([access_request(web, "orders", shop, ports=[9999])])
    until("the request is seen", lambda: _state(cluster, "accessrequest", "orders", web) == "Pending")
    run_verb(cluster, approve, shop, f"{web}/orders")
    cluster.apply([access_request(web, "orders", shop)])  # port 8080, asked for too late
    grant = _only_grant(cluster, shop)
    until(
        "the change is seen",
        lambda: "Changed" in str(cluster.get("accessrequest", "orders", web).get("status", {}).get("history")),
    )
    assert grant["spec"]["ports"] == [9999]
    assert not _served(cluster, web, shop)
    change = ("--type=merge", "-p", '{"spec":{"ports":null}}')
    with pytest.raises(ClusterError, match="a grant cannot be changed"):
        cluster("patch", "accessgrant", grant["metadata"]["name"], "-n", shop, *change)
    cluster.delete("accessgrant", grant["metadata"]["name"], shop)
    until("it is told as revoked", lambda: _state(cluster, "accessrequest", "orders", web) == "Revoked")
    run_verb(cluster, approve, shop, f"{web}/orders")
    until("the new answer holds", lambda: _served(cluster, web, shop))
    cluster.delete("accessgrant", _only_grant(cluster, shop)["metadata"]["name"], shop)
    until("it is taken back", lambda: not _served(cluster, web, shop))


def test_a_denial_is_told_and_one_answer_is_enough(cluster: Cluster, closed_shop: tuple[str, str]) -> None:
    shop, web = closed_shop
    cluster.apply([access_request(web, "orders", shop)])
    run_verb(cluster, deny, shop, f"{web}/orders", "--answer", "use the queue")
    until("the request says so", lambda: _state(cluster, "accessrequest", "orders", web) == "Denied")
    assert "use the queue" in str(cluster.get("accessrequest", "orders", web)["status"])
    with pytest.raises(CliError, match="answers it already: Deny"):
        run_verb(cluster, approve, shop, f"{web}/orders")
    assert not _served(cluster, web, shop)


def test_a_grant_ends_by_itself_and_so_does_the_connection_that_it_let_in(
    cluster: Cluster, closed_shop: tuple[str, str]
) -> None:
    shop, web = closed_shop
    cluster.apply([access_grant(shop, "short", web, _in(15))])
    until("the caller is let in", lambda: _served(cluster, web, shop))
    target = f"http://orders.{shop}:8080/"
    with cluster.client_in_background("client", web, "load", target, "--seconds=40", "--pause=0.2") as client:
        report = client.report()
    assert report["failed"] > 0, "the connection outlived its grant"
    assert not _served(cluster, web, shop)
    until("the grant says so", lambda: _state(cluster, "accessgrant", "short", shop) == "Expired")
    until("the owner is told", lambda: "AccessExpired" in _events(cluster, shop))
    ended = [each for each in access_log(cluster, "orders", shop) if each.get("reason") == "policy_changed"]
    assert ended, "no live connection was ended for its policy"


@pytest.mark.alone
@pytest.mark.slow_on_kubernetes
@pytest.mark.timeout(400)
def test_a_grant_ends_with_the_whole_operator_away(
    cluster: Cluster, handfast: Release, closed_shop: tuple[str, str]
) -> None:
    shop, web = closed_shop
    cluster.apply([access_grant(shop, "short", web, _in(90))])
    until("the caller is let in", lambda: _served(cluster, web, shop))
    try:
        handfast.scale("handfast-controller", 0)
        handfast.scale("handfast-directory", 0)
        until("the stream is gone", lambda: metric(cluster, "orders", shop, "handfast_directory_connected") == 0, 60)
        assert _served(cluster, web, shop), "the grant ended before its time, or the operator went too slowly"
        until("the grant has ended", lambda: not _served(cluster, web, shop), 120)
        assert metric(cluster, "orders", shop, "handfast_directory_connected") == 0
        assert access_log(cluster, "orders", shop)[-1]["rule"] == f"MTLSPolicy {shop}/closed"
    finally:
        handfast.scale("handfast-controller", 1)
        handfast.scale("handfast-directory", 2)


def test_a_deny_beats_a_grant_and_the_grant_says_which(cluster: Cluster, closed_shop: tuple[str, str]) -> None:
    shop, web = closed_shop
    cluster.apply([access_grant(shop, "vain", web, _in(600))])
    until("the caller is let in", lambda: _served(cluster, web, shop))
    cluster.apply([policy(shop, "no-web", deny=[{"from": [{"serviceAccount": "default", "namespace": web}]}])])
    until("the caller is denied", lambda: not _served(cluster, web, shop))
    until(
        "the grant names who beats it",
        lambda: _conditions(cluster.get("accessgrant", "vain", shop)).get("Overruled") == "Denied",
    )
    assert f"MTLSPolicy {shop}/no-web denies {web}/default" in str(cluster.get("accessgrant", "vain", shop)["status"])
