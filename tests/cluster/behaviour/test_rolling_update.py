"""A Deployment is replaced under load, beside one that nobody meshed: what its clients notice is counted on both."""

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory, Record
from cluster.kube.manifests import Manifest
from cluster.kube.workloads import Workloads

pytestmark = pytest.mark.usefixtures("handfast")
ROUNDS = 3
LOAD = ["load", "http://orders:8080/", "--connections=4", "--close", "--pause=0.01", "--until-eof"]
"""Each request on a connection of its own, so that the choice of a pod is made anew each time."""


@pytest.mark.timeout(400)
def test_a_rolling_update_fails_no_more_requests_than_without_the_mesh(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, record_property: Record
) -> None:
    meshed, plain = namespace("meshed", inject=True), namespace("plain")
    for here in (meshed, plain):
        cluster.apply_ready(
            workloads.service("orders", here, [8080]), workloads.pod("client", here), orders(workloads, here, 0)
        )
        cluster.wait_reachable("client", here, "orders", 8080)
    with (
        cluster.client_in_background("client", meshed, *LOAD) as with_mesh,
        cluster.client_in_background("client", plain, *LOAD) as without,
    ):
        for number in range(1, ROUNDS + 1):
            for here in (meshed, plain):
                cluster.apply_ready(orders(workloads, here, number), timeout_s=120)
        reports = {"meshed": with_mesh.finish(), "plain": without.finish()}
    record_property("rolling update", reports)
    assert reports["meshed"]["requests"] > 100 * ROUNDS, "the load ran all the time"
    assert reports["meshed"]["failed"] <= reports["plain"]["failed"], reports


def orders(workloads: Workloads, namespace: str, number: int) -> Manifest:
    """Three replicas; another number replaces them all."""
    return workloads.deployment(
        "orders", namespace, "http", replicas=3, annotations={"round": str(number)}, probe=workloads.http_probe()
    )
