"""Mode `Auto`: plaintext passes and is told until a minute was quiet, then it is refused; by hand it passes again."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.manifests import Manifest
from cluster.kube.workloads import Workloads
from cluster.mesh import metric, policy, until
from cluster.release import Release

pytestmark = [pytest.mark.usefixtures("handfast"), pytest.mark.slow_on_kubernetes]
REPORTED_S = 40
"""Seconds until what happened at a sidecar stands in a status, at most: it reports every ten."""
QUIET_S = 150
"""Seconds until a minute without plaintext has been noticed, on a busy machine."""


def _served(cluster: Cluster, namespace: str, host: str) -> bool:
    report = cluster.client("client", namespace, "load", f"http://{host}:8080/", "--requests=1", "--close")
    return bool(report["failed"] == 0)


def _status(cluster: Cluster, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("mtlspolicy", "auto", namespace).get("status") or {}
    return found


def _promoted(status: dict[str, Any]) -> Manifest:
    """The condition; empty when there is none."""
    return next((each for each in status.get("conditions") or () if each["type"] == "Promoted"), {})


def _reason(cluster: Cluster, namespace: str) -> str:
    return str(_promoted(_status(cluster, namespace)).get("reason", ""))


@pytest.mark.timeout(500)
def test_auto_names_who_speaks_plaintext_and_is_strict_after_a_quiet_minute(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    meshed, outside = namespace("shop", inject=True), namespace("outside")
    cluster.apply_ready(
        workloads.deployment("orders", meshed, "http"),
        workloads.service("orders", meshed, [8080]),
        workloads.pod("client", meshed),
        workloads.pod("client", outside),
    )
    cluster.apply([policy(meshed, "auto", mode="Auto", promoteAfter="1m")])
    for where in (meshed, outside):
        cluster.wait_reachable("client", where, f"orders.{meshed}", 8080)

    assert _served(cluster, outside, f"orders.{meshed}"), "plaintext passes"
    until("the client is told of", lambda: _reason(cluster, meshed) == "PlaintextSeen", timeout_s=REPORTED_S)
    status = _status(cluster, meshed)
    assert [(each["namespace"], each["name"], each["port"]) for each in status["plaintextClients"]] == [
        (outside, "pod/client", 8080)
    ]
    assert f"{outside}/pod/client (port 8080)" in _promoted(status)["message"]
    assert "Auto" in cluster("get", "mtls", "auto", "-n", meshed)

    assert _served(cluster, outside, f"orders.{meshed}")
    until("nothing is seen", lambda: _reason(cluster, meshed) == "WaitingForQuiet", timeout_s=QUIET_S)
    # New pods are no reason to wait for longer.
    cluster("rollout", "restart", "deployment/orders", "-n", meshed)
    cluster("rollout", "status", "deployment/orders", "-n", meshed)
    cluster.wait("mtlspolicy", "auto", "condition=Promoted", meshed, timeout_s=QUIET_S)
    promotion = _status(cluster, meshed)["promotion"]
    quiet = datetime.fromisoformat(promotion["promotedAt"]) - datetime.fromisoformat(promotion["quietSince"])
    assert quiet >= timedelta(minutes=1)

    until("plaintext is refused", lambda: not _served(cluster, outside, f"orders.{meshed}"))
    assert _served(cluster, meshed, "orders"), "tunnels pass"
    told = until("the Event", lambda: _events(cluster, meshed, "PromotedToStrict"))
    assert [(each["type"], each["regarding"]["name"]) for each in told] == [("Normal", "auto")]

    cluster.apply([policy(meshed, "auto", mode="Permissive")])
    until("plaintext passes again", lambda: _served(cluster, outside, f"orders.{meshed}"))
    until("the clock is gone", lambda: not _status(cluster, meshed).get("promotion"))
    assert _reason(cluster, meshed) == ""


@pytest.mark.alone
@pytest.mark.timeout(400)
def test_without_a_directory_the_clock_stands_and_the_silent_sidecar_is_named(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    meshed = namespace("shop", inject=True)
    cluster.apply_ready(workloads.pod("orders", meshed, "http"))
    cluster.apply([policy(meshed, "auto", mode="Auto", promoteAfter="2m")])
    until("the clock runs", lambda: _reason(cluster, meshed) == "WaitingForQuiet")
    try:
        handfast.scale("handfast-directory", 0)
        until("the clock stands", lambda: _reason(cluster, meshed) == "Unreported", timeout_s=QUIET_S)
        assert f"{meshed}/orders" in _promoted(_status(cluster, meshed))["message"]
    finally:
        handfast.scale("handfast-directory", 2)
    until("the clock runs again", lambda: _reason(cluster, meshed) == "WaitingForQuiet", timeout_s=QUIET_S)
    assert "pausedAt" not in _status(cluster, meshed)["promotion"]


def test_a_status_that_comes_with_the_object_promotes_nobody(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    meshed, outside = namespace("shop", inject=True), namespace("outside")
    cluster.apply_ready(*workloads.server("orders", meshed, "http"), workloads.pod("client", outside))
    forged = {"promotion": {"promotedAt": "2026-01-01T00:00:00Z"}}
    cluster.apply([{**policy(meshed, "auto", mode="Auto"), "status": forged}])
    cluster("patch", "mtlspolicy", "auto", "-n", meshed, "--type=merge", "-p", json.dumps({"status": forged}))
    until("the policy is looked at", lambda: _reason(cluster, meshed))
    assert "promotedAt" not in _status(cluster, meshed).get("promotion", {})
    assert _served(cluster, outside, f"orders.{meshed}")
    assert metric(cluster, "orders", meshed, "handfast_denied_total", reason="plaintext_refused") == 0


def _events(cluster: Cluster, namespace: str, reason: str) -> list[Manifest]:
    return [each for each in cluster.list("events.events.k8s.io", namespace) if each["reason"] == reason]
