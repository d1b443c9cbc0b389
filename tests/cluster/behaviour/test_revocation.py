"""Who is revoked is parted with within a second, everywhere; others do not notice, and it can be taken back."""

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import PORTS, Workloads
from cluster.mesh import TRUST_DOMAIN, access_log, identity_of, leaf_of, metric, secret_of, until

pytestmark = [pytest.mark.usefixtures("handfast"), pytest.mark.slow_on_kubernetes]
GREETER = PORTS["greeter"]


@pytest.fixture
def trusted_again(cluster: Cluster) -> Iterator[None]:
    """Whatever a test revokes."""
    yield
    revoke(cluster)


def revoke(cluster: Cluster, *entries: dict[str, Any]) -> None:
    """The whole list."""
    patch = json.dumps({"spec": {"revoked": list(entries)}})
    cluster("patch", "trustdomain", TRUST_DOMAIN, "--type=merge", "-p", patch)


def revoked_lines(cluster: Cluster, server: str, namespace: str) -> list[dict[str, Any]]:
    """Of connections that ended because their peer was revoked."""
    return [each for each in access_log(cluster, server, namespace) if each.get("reason") == "revoked"]


@pytest.fixture
def shop(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> tuple[str, str]:
    """Two servers, and clients of two identities that dial both."""
    first, second = namespace("shop", inject=True), namespace("web", inject=True)
    cluster.apply_ready(
        *workloads.server("mail", first, "greeter"),
        *workloads.server("post", first, "greeter"),
        workloads.pod("client", first),
        workloads.pod("client", second),
    )
    for where in (first, second):
        for server in ("mail", "post"):
            cluster.wait_reachable("client", where, f"{server}.{first}", GREETER)
    return first, second


@pytest.mark.usefixtures("trusted_again")
def test_a_revoked_identity_is_parted_with_in_every_sidecar_and_comes_back(
    cluster: Cluster, shop: tuple[str, str]
) -> None:
    first, web = shop
    words = [("hold", f"{server}.{first}", str(GREETER), "--seconds=60", "--pause=0.05") for server in ("mail", "post")]
    with (
        cluster.client_in_background("client", first, *words[0]) as stays,
        cluster.client_in_background("client", web, *words[0]) as goes,
        cluster.client_in_background("client", web, *words[1]) as goes_too,
    ):
        for client in (stays, goes, goes_too):
            client.next_line()
        revoke(cluster, {"identity": identity_of(web), "reason": "its node was broken into"})
        applied = time.time()
        for client in (goes, goes_too):
            assert "ConnectionResetError" in str(client.report())
        assert time.time() - applied < 1 + 2, "one second, and one for each kubectl exec"
        for _ in range(20):
            stays.next_line()
    for server in ("mail", "post"):
        [line] = until("its line is written", partial(revoked_lines, cluster, server, first))
        assert line["peer"] == identity_of(web)
        assert line["detail"] == f"{identity_of(web)} is revoked: its node was broken into"
        assert metric(cluster, server, first, "handfast_revocations") == 1
    refused = cluster.client("client", web, "hold", f"mail.{first}", str(GREETER), "--seconds=1")
    assert "ConnectionResetError" in str(refused)
    until(
        "the server refused it in the handshake",
        lambda: metric(cluster, "mail", first, "handfast_handshake_failures_total", side="server", reason="revoked"),
    )
    revoke(cluster)
    cluster.wait_reachable("client", web, f"mail.{first}", GREETER)


@pytest.mark.usefixtures("trusted_again")
def test_a_revoked_certificate_is_replaced_and_traffic_goes_on(
    cluster: Cluster, workloads: Workloads, shop: tuple[str, str]
) -> None:
    first, web = shop
    serial = leaf_of(secret_of(cluster, "client", web)).serial
    revoke(cluster, {"serial": serial, "reason": "a copy of its Secret was found"})
    until("another leaf", lambda: leaf_of(secret_of(cluster, "client", web)).serial != serial)
    cluster.wait_reachable("client", web, f"mail.{first}", GREETER, timeout_s=120)
    events = until(
        "its owner is told",
        lambda: [
            each
            for each in cluster.list("events.events.k8s.io", web)
            if each["reason"] == "CertificateReplaced" and serial in each["note"]
        ],
    )
    assert events[0]["regarding"]["name"] == "client"


@pytest.mark.usefixtures("trusted_again")
def test_a_new_pod_of_a_revoked_identity_does_not_start_and_says_why(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    revoke(cluster, {"identity": identity_of(here), "reason": "it is being looked into"})
    cluster.apply([workloads.pod("late", here, "http")])
    [event] = until(
        "the pod's owner is told",
        lambda: [each for each in cluster.list("events.events.k8s.io", here) if each["reason"] == "IdentityRefused"],
    )
    assert "it is being looked into" in event["note"]
    assert cluster.get("pod", "late", here)["status"]["phase"] == "Pending"
    revoke(cluster)
    cluster.wait("pod", "late", "condition=Ready", here)
