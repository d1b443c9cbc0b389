"""A part of Kubernetes itself ends while everybody works: what users see of it, counted (docs/high-availability.md)."""

import json
import time

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory, Record
from cluster.driving import Driving
from cluster.faults import asking_later, our_node
from cluster.kube.node import ctr
from cluster.kube.running import wait_for, without
from cluster.kube.workloads import PORTS, Workloads
from cluster.mesh import since, until
from cluster.release import Release
from handfast_operator.directory.server import STALE_S
from handfast_sidecar.directory.messages import ALIVE_EVERY_S

pytestmark = [pytest.mark.alone, pytest.mark.timeout(700)]
AWAY_S = 120
ASKS_S = int(STALE_S) + ALIVE_EVERY_S + 5
"""After this a directory that has not heard of the API server for too long has looked at each of its sidecars."""


@pytest.fixture(scope="module")
def load(cluster: Cluster, handfast: Release, workloads: Workloads, module_namespace: NamespaceFactory) -> Driving:
    """One for all of these tests; whoever was disturbed by a test fails the next one, too."""
    return Driving.begin_strict(cluster, workloads, module_namespace)


def test_when_etcd_is_killed_and_started_again_nobody_waits_for_it(
    cluster: Cluster, handfast: Release, workloads: Workloads, load: Driving, record_property: Record
) -> None:
    with without(our_node(cluster), "etcd"):
        pass
    began = time.monotonic()
    wait_for("the API server", lambda: served(cluster))
    answered = since(began)
    cluster.apply_ready(workloads.pod("after-etcd", load.namespace, "http"), timeout_s=120)
    record_property("ha: etcd restarted", {"api_server_ready_s": answered, "new_pod_ready_s": since(began)})
    load.goes_on()
    handfast.wait_working()


def test_when_containerd_is_killed_and_started_again_nobody_waits_for_it(
    cluster: Cluster, handfast: Release, workloads: Workloads, load: Driving, record_property: Record
) -> None:
    node = our_node(cluster)
    with without(node, "containerd"):
        pass
    began = time.monotonic()
    wait_for("containerd", lambda: ctr(node, "version"))
    answered = since(began)
    cluster.apply_ready(workloads.pod("after-containerd", load.namespace, "http"), timeout_s=120)
    record_property("ha: containerd restarted", {"answers_s": answered, "new_pod_ready_s": since(began)})
    load.goes_on()
    handfast.wait_working()


def test_while_the_api_server_is_away_for_two_minutes_everybody_goes_on_and_pods_that_never_met_meet(
    cluster: Cluster,
    handfast: Release,
    workloads: Workloads,
    namespace: NamespaceFactory,
    load: Driving,
    record_property: Record,
) -> None:
    here = load.namespace
    cluster.apply_ready(
        *workloads.server("unmet", here, "http"), asking_later(workloads, "late", here, "unmet", ASKS_S)
    )
    node = our_node(cluster)
    # Whoever leads by a Lease ends when it cannot be renewed. Those of our cluster elect nobody, and would go on
    # to hold the silence of two minutes against the node: no pod of it would be an endpoint until it was heard again.
    with without(node, "kube-controller-manager", "kube-scheduler"):
        with without(node, "kube-apiserver"):
            time.sleep(AWAY_S)
        began = time.monotonic()
        wait_for("the API server", lambda: served(cluster))
        answered = since(began)
    [report] = until("it has asked", lambda: cluster.logs("late", here, container="app").splitlines()[-1:], 60)
    assert json.loads(report)["failed"] == 0, report
    load.goes_on()
    handfast.wait_working()
    there = namespace("after", inject=True)
    cluster.apply_ready(*workloads.server("outage", there, "http"), timeout_s=200)
    ready = since(began)
    # The cluster's own DNS is the last to hear of what is new, and of namespaces last of all.
    cluster.wait_reachable("reaching", here, f"outage.{there}", PORTS["http"], timeout_s=200)
    seconds = {"ready_s": answered, "new_pod_ready_s": ready, "new_service_reached_s": since(began)}
    record_property("ha: API server away", {"away_s": AWAY_S, "first_contact_after_s": ASKS_S} | seconds)


def test_all_of_that_failed_no_request(load: Driving, record_property: Record) -> None:
    record_property("ha: all of Kubernetes' faults", {"requests": load.finish(), "failed": 0})


def served(cluster: Cluster) -> bool:
    """Whether the API server says that it works."""
    return cluster("get", "--raw", "/readyz") == "ok"
