"""Explicit mode where Kubernetes itself forbids every privilege: Pod Security `restricted`, enforced."""

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, identity_of, metric, policy

pytestmark = pytest.mark.usefixtures("handfast")
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
NONE = {"handfast.dev/interception": "none"}


@pytest.fixture
def restricted(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> str:
    """A meshed namespace that enforces `restricted`: the API server refuses there what the standard forbids."""
    here = namespace("restricted", inject=True, labels=RESTRICTED)
    out = {"handfast.dev/inject": "disabled"}
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        cluster.apply([workloads.pod("forbidden", here, "http", labels=out, hostPID=True)])
    return here


def test_pods_start_in_a_restricted_namespace_and_talk_through_a_tunnel(
    cluster: Cluster, workloads: Workloads, restricted: str
) -> None:
    cluster.apply([policy(restricted, "strict", mode="Strict")])
    upstreams = {**NONE, "handfast.dev/upstreams": "18080=orders:8080"}
    cluster.apply_ready(
        workloads.pod("orders", restricted, "http", "--host=127.0.0.1", annotations=NONE, probe=workloads.http_probe()),
        workloads.service("orders", restricted, [8080]),
        workloads.pod("client", restricted, annotations=upstreams),
    )
    for name in ("orders", "client"):
        spec = cluster.get("pod", name, restricted)["spec"]
        assert [each["name"] for each in spec["initContainers"]] == ["handfast-proxy"]
        assert not any("add" in each["securityContext"]["capabilities"] for each in spec["initContainers"])
    cluster.wait_reachable("client", restricted, "127.0.0.1", 18080)
    report = cluster.client("client", restricted, "load", "http://127.0.0.1:18080/", "--requests=20", "--close")
    assert (report["failed"], report["requests"]) == (0, 20)
    lines = access_log(cluster, "orders", restricted)
    assert {line["peer"] for line in lines} == {identity_of(restricted)}
    assert {line["tls"]["version"] for line in lines} == {"TLSv1.3"}
    assert metric(cluster, "client", restricted, "handfast_tunnels", side="client") == 1


def test_a_redirected_pod_is_refused_there_with_the_way_out(
    cluster: Cluster, workloads: Workloads, restricted: str
) -> None:
    with pytest.raises(ClusterError) as refused:
        cluster.apply([workloads.pod("orders", restricted, "http")])
    assert "'restricted', which forbids the capability NET_ADMIN" in str(refused.value)
    assert "annotate the pod handfast.dev/interception=none, for explicit mode" in str(refused.value)
    cluster.apply_ready(workloads.pod("orders", restricted, "http", annotations=NONE))
