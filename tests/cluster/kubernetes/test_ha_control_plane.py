"""A replica of Handfast ends while everybody works: what users see of it, counted (docs/high-availability.md)."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory, Record
from cluster.driving import EVERYBODY, Driving
from cluster.faults import CONTROLLER, DIRECTORY, WEBHOOK, crash, leader, lose, our_node, sessions
from cluster.kube.workloads import PORTS, Workloads
from cluster.mesh import events, scrapes, since, until
from cluster.release import Release
from cluster.stragglers import processes, standing_still
from handfast_operator.cluster.access import read_kubeconfig
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import PODS
from handfast_sidecar.wellknown import WEBHOOK_PORT

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]
HTTP = PORTS["http"]
ROLLOUT = 50
REVIEWS = 1000
CALLERS = 40
"""More than the 25 idle connections that the API server keeps to a webhook, so that it dials anew all the time."""
REVIEWED_AFTER = 200
"""Reviews after the certificate is another one."""
READY_S = 120


@pytest.fixture(scope="module")
def load(cluster: Cluster, handfast: Release, workloads: Workloads, module_namespace: NamespaceFactory) -> Driving:
    """One for all of these tests; whoever was disturbed by a test fails the next one, too."""
    our_node(cluster)
    return Driving.begin_strict(cluster, workloads, module_namespace)


def test_when_the_leader_is_lost_another_one_leads_and_a_new_pod_starts(
    cluster: Cluster, handfast: Release, workloads: Workloads, load: Driving, record_property: Record
) -> None:
    with replicas(cluster, handfast, CONTROLLER, 2):
        lost = until("one leads", lambda: leader(cluster, handfast))
        lose(cluster, handfast, lost, "controller")
        began = time.monotonic()
        cluster.apply([workloads.pod("late", load.namespace, "http")])
        until("another one leads", lambda: leader(cluster, handfast) not in ("", lost), READY_S)
        led = since(began)
        cluster.wait("pod", "late", "condition=Ready", load.namespace, timeout_s=READY_S)
        record_property("ha: leader lost", {"another_leads_s": led, "new_pod_ready_s": since(began)})
        load.goes_on()
        crashed = leader(cluster, handfast)
        crash(crashed, "controller")
        seconds = started(cluster, workloads.pod("later", load.namespace, "http"))
        load.goes_on()
        record_property("ha: leader's process killed", {"new_pod_ready_s": seconds})
        handfast.wait_available(CONTROLLER)


def test_when_a_replica_of_the_directory_is_lost_its_sidecars_move_and_nobody_waits_in_vain(
    cluster: Cluster, handfast: Release, workloads: Workloads, load: Driving, record_property: Record
) -> None:
    cluster.apply_ready(*workloads.server("unmet", load.namespace, "http"))
    before = sessions(cluster, handfast)
    lost = max(before, key=lambda pod: before[pod])
    assert before[lost] > 0
    lose(cluster, handfast, lost, "directory")
    began = time.monotonic()
    first = cluster.client("reaching", load.namespace, *once("unmet"))
    until("all are connected", lambda: connected(cluster, load.namespace), 30)
    record_property(
        "ha: directory replica lost",
        {"sidecars_moved": before[lost], "all_connected_s": since(began), "first_contact": first},
    )
    assert first["failed"] == 0, first
    load.goes_on()
    handfast.wait_available(DIRECTORY)
    until("two serve", lambda: len(sessions(cluster, handfast)) == len(before), 60)


def test_when_a_replica_of_the_directory_falls_silent_a_first_contact_is_answered_by_the_other_one(
    cluster: Cluster, handfast: Release, workloads: Workloads, load: Driving, record_property: Record
) -> None:
    replicas = handfast.pods(DIRECTORY)
    unmet = [f"silent-{number}" for number in range(len(replicas))]
    cluster.apply_ready(*(each for name in unmet for each in workloads.server(name, load.namespace, "http")))
    seconds = []
    # One of them is the one that the client asks.
    for silent, name in zip(replicas, unmet, strict=True):
        with standing_still(processes(silent, "directory")):
            began = time.monotonic()
            first = cluster.client("reaching", load.namespace, *once(name))
            seconds.append(since(began))
            assert first["failed"] == 0, first
        until("all are connected", lambda: connected(cluster, load.namespace), 30)
    record_property("ha: directory replica silent", {"first_contact_s": seconds})
    load.goes_on()
    until("both serve", lambda: len(sessions(cluster, handfast)) == len(replicas), 60)


@pytest.mark.parametrize("how", ["deleted", "killed"])
def test_when_a_replica_of_the_webhook_ends_during_a_rollout_every_pod_is_created(
    cluster: Cluster,
    handfast: Release,
    workloads: Workloads,
    namespace: NamespaceFactory,
    load: Driving,
    record_property: Record,
    how: str,
) -> None:
    here = namespace("rollout", inject=True)
    [ending, _other] = handfast.pods(WEBHOOK)
    # The pods are made and wait: it is their creation that the webhook has a say in.
    cluster.apply([workloads.deployment("many", here, "http", replicas=ROLLOUT, schedulerName="nobody")])
    began = time.monotonic()
    if how == "deleted":
        cluster("delete", "pod", ending, "-n", handfast.namespace, "--wait=false")
    else:
        crash(ending, "webhook")
    at = len(cluster.list("pods", here))
    made = until("all are made", lambda: whole(cluster.list("pods", here)), 60)
    seconds = since(began)
    assert all("handfast-proxy" in [each["name"] for each in pod["spec"]["initContainers"]] for pod in made)
    refused = events(cluster, here, reason="FailedCreate")
    attempts = sum(each.get("count") or 1 for each in refused)
    record_property(
        f"ha: webhook replica {how}", {"pods_before": at, "all_created_s": seconds, "creations_tried_again": attempts}
    )
    assert at < ROLLOUT, "it ended while they were made"
    if how == "deleted":
        assert attempts == 0, refused
    load.goes_on()
    handfast.wait_available(WEBHOOK)
    until("two serve", lambda: len(handfast.pods(WEBHOOK)) == 2, 60)


async def test_no_review_fails_while_the_webhooks_certificate_is_replaced(
    cluster: Cluster,
    handfast: Release,
    workloads: Workloads,
    namespace: NamespaceFactory,
    load: Driving,
    record_property: Record,
) -> None:
    here = namespace("reviews", inject=True)
    pods = handfast.pods(WEBHOOK)
    reloads = {pod: reloaded(cluster, handfast, pod) for pod in pods}
    async with reviewing(cluster, workloads.pod("reviewed", here, "http"), here) as reviews:
        await reviews.more(REVIEWED_AFTER)
        dialled = {pod: callers(pod) for pod in pods}
        began = time.monotonic()
        # What the controller does not know as its own any more it writes anew, as at half of the certificate's life.
        mark = ("label", "secret", "handfast-webhook-tls", "handfast.dev/serving=none", "--overwrite")
        await asyncio.to_thread(cluster, *mark, "-n", handfast.namespace)

        def replaced() -> bool:
            return all(reloaded(cluster, handfast, pod) > reloads[pod] for pod in pods)

        await asyncio.to_thread(until, "both serve another certificate", replaced, 90)
        seconds = since(began)
        await reviews.more(max(REVIEWED_AFTER, REVIEWS - reviews.done))
        anew = sum(len(callers(pod) - dialled[pod]) for pod in pods)
    record_property(
        "ha: webhook certificate replaced",
        {"reviews": reviews.done, "failed": reviews.failed, "s": seconds, "new_connections": anew},
    )
    assert not reviews.failed, reviews.failed
    assert anew > 0, "nobody shook hands with the new certificate"
    await asyncio.to_thread(load.goes_on)


def test_all_of_that_failed_no_request(load: Driving, record_property: Record) -> None:
    record_property("ha: all of the control plane's faults", {"requests": load.finish(), "failed": 0})


class Reviews:
    """Dry runs of a creation, from many callers at once."""

    def __init__(self) -> None:
        self.done = 0
        self.failed: list[str] = []
        self._one_more = asyncio.Event()

    async def call(self, client: ApiClient, path: str, pod: dict[str, Any]) -> None:
        """One after the other, until cancelled."""
        while True:
            try:
                made = await client.create(path, pod, dry_run=True)
                if len(made["spec"].get("initContainers", ())) != 2:
                    self.failed.append("no sidecar")
            except (ApiError, OSError, TimeoutError) as error:
                self.failed.append(str(error))
            self.done += 1
            self._one_more.set()
            await asyncio.sleep(0.1)

    async def more(self, number: int) -> None:
        """Until so many more have been answered."""
        wanted = self.done + number
        while self.done < wanted:
            self._one_more.clear()
            await self._one_more.wait()


@asynccontextmanager
async def reviewing(cluster: Cluster, pod: dict[str, Any], namespace: str) -> AsyncIterator[Reviews]:
    """While the block runs."""
    reviews, path = Reviews(), PODS.within(namespace)
    async with ApiClient.connect(read_kubeconfig(cluster.kubeconfig)) as client:
        calling = [asyncio.create_task(reviews.call(client, path, pod)) for _ in range(CALLERS)]
        try:
            yield reviews
        finally:
            for each in calling:
                each.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*calling, return_exceptions=True)


def reloaded(cluster: Cluster, handfast: Release, pod: str) -> int:
    """How often a webhook has exchanged its certificate."""
    return cluster.logs(pod, handfast.namespace).count("serving certificate reloaded")


def callers(pod: str) -> set[str]:
    """Who is connected to a webhook now."""
    [process] = processes(pod, "webhook")
    words = ["nsenter", f"--net=/proc/{process}/ns/net", "ss", "-Htn", "state", "established"]
    listed = subprocess.run([*words, f"( sport = :{WEBHOOK_PORT} )"], capture_output=True, text=True, check=True).stdout
    return {line.split()[3] for line in listed.splitlines()}


@contextmanager
def replicas(cluster: Cluster, handfast: Release, deployment: str, number: int) -> Iterator[None]:
    """So many while the block runs."""
    before = cluster.get("deployment", deployment, handfast.namespace)["spec"]["replicas"]
    handfast.scale(deployment, number)
    try:
        yield
    finally:
        handfast.scale(deployment, before)


def started(cluster: Cluster, pod: dict[str, Any]) -> float:
    """Seconds from a pod's creation to Ready."""
    began = time.monotonic()
    cluster.apply_ready(pod, timeout_s=READY_S)
    return since(began)


def once(host: str) -> tuple[str, ...]:
    """One request, by somebody who gives an answer some time."""
    return ("load", f"http://{host}:{HTTP}/", "--requests=1", "--close", "--timeout=10")


def connected(cluster: Cluster, namespace: str) -> bool:
    """Whether every sidecar of the load has a directory."""
    found = scrapes(cluster, namespace)
    return all(found[name].total("handfast_directory_connected") == 1 for name in EVERYBODY if name in found)


def whole(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return pods if len(pods) == ROLLOUT else []
