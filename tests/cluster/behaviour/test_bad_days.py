"""The directory away, the webhook away, Handfast uninstalled: what users then see."""

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, metric, policy, until
from cluster.release import Release

pytestmark = pytest.mark.alone


@pytest.mark.timeout(400)
def test_without_a_directory_known_peers_go_on_and_no_answer_is_never_a_yes(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here, outside = namespace("mesh", inject=True), namespace("outside")
    cluster.apply([policy(here, "strict", mode="Strict")])
    on_the_node = workloads.pod(
        "node", outside, "http", "--port=18080", hostNetwork=True, probe=workloads.tcp_probe(18080)
    )
    cluster.apply_ready(
        *workloads.server("orders", here, "http"),
        *workloads.server("other", here, "http"),
        workloads.pod("client", here),
        workloads.pod("plain", outside),
        on_the_node,
    )
    cluster.wait_reachable("client", here, "orders", 8080)
    try:
        handfast.scale("handfast-directory", 0)
        until("the stream is gone", lambda: metric(cluster, "client", here, "handfast_directory_connected") == 0, 60)
        assert _reaches(cluster, "client", here, "orders", 8080), "a known peer"
        assert not _reaches(cluster, "client", here, "other", 8080), "an unknown address of the cluster"
        assert access_log(cluster, "client", here)[-1]["reason"] == "directory_unavailable"
        assert _reaches(cluster, "client", here, cluster.node_address, 18080), "an address outside its ranges"
        assert not _reaches(cluster, "plain", outside, f"orders.{here}", 8080), "plaintext under Strict"
        late = workloads.pod("late", here, "http")
        cluster.apply_ready(late)
        assert not _reaches(cluster, "plain", outside, cluster.address_of("late", here), 8080), "judged by config.json"
    finally:
        handfast.scale("handfast-directory", 2)
    until("the unknown one is reached again", lambda: _reaches(cluster, "client", here, "other", 8080), 60)


@pytest.mark.timeout(400)
def test_without_a_webhook_pods_that_did_not_opt_in_start_and_the_others_wait(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    meshed, plain = namespace("meshed", inject=True), namespace("plain")
    try:
        handfast.scale("handfast-webhook", 0)
        cluster.apply_ready(workloads.pod("orders", plain, "http"))
        with pytest.raises(ClusterError, match=r"namespace\.inject\.handfast\.dev"):
            cluster.apply([workloads.pod("orders", meshed, "http")])
        cluster.apply([workloads.deployment("waiting", meshed, "http")])
        until(
            "the Deployment says why it waits",
            lambda: "handfast" in cluster("get", "events", "-n", meshed, "--field-selector=reason=FailedCreate"),
        )
        opted_out = workloads.pod("opted-out", meshed, "http", labels={"handfast.dev/inject": "disabled"})
        cluster.apply_ready(opted_out)
    finally:
        handfast.scale("handfast-webhook", 2)
    cluster("rollout", "status", "deployment/waiting", "-n", meshed, "--timeout=120s", timeout_s=130)
    [pod] = [each for each in cluster.list("pods", meshed) if each["metadata"]["name"].startswith("waiting")]
    assert "handfast-proxy" in [each["name"] for each in pod["spec"]["initContainers"]]


def test_pods_that_get_no_sidecar_say_why(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace()
    cluster.apply_ready(workloads.pod("early", here, "http"))
    cluster("label", "namespace", here, "handfast.dev/inject=enabled")
    host = workloads.pod("host", here, "http", "--port=18081", hostNetwork=True, probe=workloads.tcp_probe(18081))
    cluster.apply_ready(host)

    def said() -> str:
        return cluster("get", "events", "-n", here, "--field-selector=reason=NotInjected", "-o", "wide")

    until("an Event about the early pod", lambda: "older than the label" in said())
    until("an Event about the pod in the host's network", lambda: "hostNetwork" in said())


@pytest.mark.timeout(600)
def test_uninstalling_leaves_nothing_that_blocks_pods_and_sidecars_that_carry_on(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply([policy(here, "strict", mode="Strict")])
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "orders", 8080)
    words = ["load", "http://orders:8080/", "--connections=4", "--until-eof", "--pause=0.01"]
    with cluster.client_in_background("client", here, *words) as load:
        try:
            handfast.uninstall()
            assert "handfast" not in cluster("get", "mutatingwebhookconfigurations,validatingwebhookconfigurations")
            cluster.apply_ready(workloads.pod("late", here, "http"))
            assert _reaches(cluster, "client", here, "orders", 8080)
            assert load.finish()["failed"] == 0
        finally:
            handfast.install()
    cluster.apply_ready(workloads.pod("later", here, "http"))
    assert len(cluster.get("pod", "later", here)["spec"]["initContainers"]) == 2


def _reaches(cluster: Cluster, pod: str, namespace: str, host: str, port: int) -> bool:
    words = ["load", f"http://{host}:{port}/", "--requests=1", "--close", "--timeout=10"]
    return bool(cluster.client(pod, namespace, *words)["failed"] == 0)
