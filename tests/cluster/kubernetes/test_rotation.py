"""Certificates rotate under traffic and nobody notices: six minutes, for the shortest life they may have is five."""

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import Workloads
from cluster.mesh import loaded_until, metric, policy, until

pytestmark = pytest.mark.usefixtures("handfast")


@pytest.mark.timeout(900)
def test_certificates_rotate_twice_under_load_and_under_one_long_connection(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply([policy(here, "short", mode="Strict", certificate={"ttl": "5m"})])
    cluster.apply_ready(
        *workloads.server("orders", here, "http"),
        *workloads.server("mail", here, "greeter"),
        workloads.pod("client", here),
    )
    for host, port in (("orders", 8080), ("mail", 2525)):
        cluster.wait_reachable("client", here, host, port)
    load_words = ["load", "http://orders:8080/", "--connections=4", "--seconds=330", "--pause=0.02"]
    hold_words = ["hold", "mail", "2525", "--seconds=330", "--pause=1"]
    with (
        cluster.client_in_background("client", here, *load_words) as load,
        cluster.client_in_background("client", here, *hold_words) as hold,
    ):
        names = ("orders", "mail", "client")
        first = {name: loaded_until(cluster, name, here) for name in names}
        second = {name: until("a rotation", _later_than(cluster, name, here, first[name]), 200) for name in names}
        for name in names:
            until("another rotation", _later_than(cluster, name, here, second[name]), 200)
        loaded, held = load.report(timeout_s=480), hold.report(timeout_s=480)
    assert loaded["failed"] == 0
    assert loaded["connections_opened"] == 4, "no connection was closed"
    assert (held["failed"], held["closed"]) == (0, None)
    for name in ("orders", "mail", "client"):
        for status in cluster.get("pod", name, here)["status"]["initContainerStatuses"]:
            assert status["restartCount"] == 0
    assert metric(cluster, "client", here, "handfast_tunnels_closed_total", reason="certificate_expired") == 0


def _later_than(cluster: Cluster, pod: str, namespace: str, moment: float):  # type: ignore[no-untyped-def]
    def look() -> float:
        now = loaded_until(cluster, pod, namespace)
        return now if now > moment else 0

    return look
