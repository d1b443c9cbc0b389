"""The node restarts while no webhook runs: what was there comes back, and what waits says so."""

import json
import time
from collections.abc import Iterator

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory, Record
from cluster.faults import WEBHOOK, our_node
from cluster.kube.manifests import Manifest
from cluster.kube.node import ctr
from cluster.kube.reboot import reboot
from cluster.kube.workloads import PORTS, Workloads
from cluster.mesh import access_log, events, policy, since, until
from cluster.release import Release
from handfast_sidecar.wellknown import PROXY_CONTAINER, WEBHOOK_CONFIGURATION

pytestmark = [pytest.mark.alone, pytest.mark.timeout(400)]
HTTP = PORTS["http"]
BACK_S = 180
PODS = ("orders", "client")


@pytest.fixture(scope="module")
def shop(cluster: Cluster, handfast: Release, workloads: Workloads, module_namespace: NamespaceFactory) -> str:
    here = module_namespace("shop", inject=True)
    cluster.apply([policy(here, "strict", mode="Strict")])
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "orders", HTTP)
    return here


@pytest.fixture(scope="module")
def restarted(cluster: Cluster, handfast: Release, shop: str) -> Iterator[dict[str, str]]:
    """While all webhooks are down; the containers that ran before, by pod. Webhooks run again afterwards."""
    replicas = cluster.get("deployment", WEBHOOK, handfast.namespace)["spec"]["replicas"]
    handfast.scale(WEBHOOK, 0)
    before = {pod: running(cluster, pod, shop) for pod in PODS}
    reboot(our_node(cluster))
    yield before
    handfast.scale(WEBHOOK, replicas)
    handfast.wait_working()


def test_pods_that_were_there_come_back_and_talk_under_strict(
    cluster: Cluster, shop: str, restarted: dict[str, str], record_property: Record
) -> None:
    began = time.monotonic()
    until(
        "all have other containers", lambda: all(running(cluster, pod, shop) != restarted[pod] for pod in PODS), BACK_S
    )
    for pod in PODS:
        cluster.wait("pod", pod, "condition=Ready", shop, timeout_s=BACK_S)
    cluster.wait_reachable("client", shop, "orders", HTTP, timeout_s=60)
    record_property("ha: node restarted with all webhooks down", {"meshed_pods_talk_s": since(began)})
    asked = cluster.client("client", shop, "load", f"http://orders:{HTTP}/", "--requests=20", "--close")
    assert asked["failed"] == 0, asked
    assert access_log(cluster, "orders", shop)[-1]["tls"]["version"] == "TLSv1.3"


def test_a_pod_that_did_not_opt_in_starts(
    cluster: Cluster,
    workloads: Workloads,
    namespace: NamespaceFactory,
    restarted: dict[str, str],
    record_property: Record,
) -> None:
    here, began = namespace("plain"), time.monotonic()
    cluster.apply_ready(workloads.pod("plain", here, "http"), timeout_s=BACK_S)
    record_property("ha: pod without the label, all webhooks down", {"ready_s": since(began)})


def test_a_pod_that_opted_in_waits_says_why_and_starts_when_a_webhook_is_back(
    cluster: Cluster,
    handfast: Release,
    workloads: Workloads,
    shop: str,
    restarted: dict[str, str],
    record_property: Record,
) -> None:
    cluster.apply([workloads.deployment("new", shop, "http")])

    def refused() -> list[str]:
        return [each["message"] for each in events(cluster, shop, reason="FailedCreate")]

    said = until("its owner is told", refused, 60)
    assert "failed calling webhook" in said[0]
    assert WEBHOOK in said[0]
    assert not cluster.list("pods", shop, selector="app=new")
    handfast.scale(WEBHOOK, 1)
    began = time.monotonic()
    cluster("rollout", "status", "deployment/new", "-n", shop, f"--timeout={BACK_S}s", timeout_s=BACK_S + 10)
    record_property("ha: pod that waited for a webhook", {"ready_after_webhook_s": since(began)})


def test_what_was_made_while_the_webhook_was_not_asked_is_named_with_its_remedy(
    cluster: Cluster, handfast: Release, workloads: Workloads, shop: str, restarted: dict[str, str]
) -> None:
    sandbox = our_node(cluster)
    handfast.wait_working()
    admitted = dry_run(cluster, workloads.pod("old", shop, "http"))
    [proxy] = [each for each in admitted["spec"]["initContainers"] if each["name"] == PROXY_CONTAINER]
    newer: str = proxy["image"]
    older = newer.rpartition(":")[0] + ":older"
    ctr(sandbox, "images", "tag", "--force", newer, older)
    for container in admitted["spec"]["initContainers"]:
        container["image"] = older
    # What an administrator does when nothing starts any more: nobody asks the webhook.
    configuration = anew(cluster.get("mutatingwebhookconfiguration", WEBHOOK_CONFIGURATION))
    cluster("delete", "mutatingwebhookconfiguration", WEBHOOK_CONFIGURATION)
    try:
        cluster.apply_ready(workloads.pod("bare", shop, "http"), admitted, timeout_s=BACK_S)
    finally:
        cluster.apply([configuration])

    def told(pod: str, reason: str) -> list[str]:
        return [each["message"] for each in events(cluster, shop, involvedObject_name=pod, reason=reason)]

    bare = until("the one without is named", lambda: told("bare", "NotInjected"), 60)
    assert "opted in but has no sidecar" in bare[0]
    old = until("the old one is named", lambda: told("old", "OldSidecar"), 60)
    assert f"the sidecar runs {older}, new pods get {newer}" in old[0]


def running(cluster: Cluster, pod: str, namespace: str) -> str:
    """Its application's container."""
    status = cluster.get("pod", pod, namespace)["status"]
    [app] = [each for each in status["containerStatuses"] if each["name"] == "app"]
    return str(app["containerID"])


def dry_run(cluster: Cluster, pod: Manifest) -> Manifest:
    """As it is admitted."""
    made: Manifest = json.loads(cluster("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(pod)))
    return anew(made) | {"spec": {key: value for key, value in made["spec"].items() if key != "priority"}}


def anew(made: Manifest) -> Manifest:
    """So that it can be created again."""
    left_out = ("uid", "creationTimestamp", "resourceVersion", "generation", "managedFields")
    metadata = {key: value for key, value in made["metadata"].items() if key not in left_out}
    return {key: value for key, value in made.items() if key != "status"} | {"metadata": metadata}
