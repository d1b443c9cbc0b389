"""`overridable: false`: what the cluster demands holds, whatever is written in a namespace."""

import time
from collections.abc import Iterator

import pytest

from cluster.attempts import ANNOTATIONS, fields_left_out, specs
from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, cluster_policy, policy, until

pytestmark = [pytest.mark.usefixtures("handfast"), pytest.mark.slow_on_kubernetes]


def served(cluster: Cluster, namespace: str, place: str) -> bool:
    """Whether `client` of the namespace gets an answer."""
    report = cluster.client("client", namespace, "load", f"http://{place}:8080/", "--requests=1", "--close")
    return bool(report["failed"] == 0)


class Floor:
    """A namespace under a final Strict, and one without sidecars."""

    def __init__(self, cluster: Cluster, shop: str, outside: str) -> None:
        self.cluster, self.shop, self.outside = cluster, shop, outside
        self.name = f"floor-{shop}"

    def demand(self) -> None:
        """The final policy comes, and holds."""
        selector = {"matchLabels": {"kubernetes.io/metadata.name": self.shop}}
        spec = {"mode": "Strict", "enforcement": "Enforce", "namespaceSelector": selector, "overridable": False}
        self.cluster.apply([cluster_policy(self.name, **spec)])
        until("the final Strict holds", lambda: not self.open())

    def open(self) -> bool:
        """Whether plaintext is served."""
        return served(self.cluster, self.outside, f"orders.{self.shop}")

    def stays_closed(self) -> None:
        """For as long as a change of a policy may take to hold."""
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            assert not self.open()


@pytest.fixture(scope="module")
def floor(cluster: Cluster, workloads: Workloads, module_namespace: NamespaceFactory) -> Iterator[Floor]:
    shop, outside = module_namespace("shop", inject=True), module_namespace("outside")
    cluster.apply_ready(
        *workloads.server("orders", shop, "http"), workloads.pod("client", shop), workloads.pod("client", outside)
    )
    for where in (shop, outside):
        cluster.wait_reachable("client", where, f"orders.{shop}", 8080)
    made = Floor(cluster, shop, outside)
    made.demand()
    yield made
    cluster.delete("clustermtlspolicy", made.name)


def test_every_field_of_a_policy_is_tried() -> None:
    assert fields_left_out() == set()


@pytest.mark.parametrize("attempt", specs())
def test_no_field_of_a_namespaces_policy_opens_what_the_cluster_closed(
    cluster: Cluster, floor: Floor, attempt: str
) -> None:
    spec = specs()[attempt]
    cluster.apply([policy(floor.shop, "attempt", **spec)])
    try:
        cluster.wait("mtlspolicy", "attempt", "condition=Ready", floor.shop)
        floor.stays_closed()
        assert served(cluster, floor.shop, "orders"), "peers with an identity are served as before"
        last = [line for line in access_log(cluster, "orders", floor.shop) if line["verdict"] == "refused"][-1]
        assert (last["reason"], last["rule"]) == ("plaintext_refused", f"ClusterMTLSPolicy {floor.name}")
        if spec.keys() & {"mode", "ports", "enforcement"}:
            cluster.wait("mtlspolicy", "attempt", "condition=Conflicted", floor.shop)
            found = cluster.get("mtlspolicy", "attempt", floor.shop)["status"]["conditions"]
            assert next(each["reason"] for each in found if each["type"] == "Conflicted") == "ClusterPolicyFinal"
    finally:
        cluster.delete("mtlspolicy", "attempt", floor.shop)


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_a_pod_that_would_go_around_is_refused_with_the_policy_and_the_way_out(
    cluster: Cluster, workloads: Workloads, floor: Floor, annotation: str
) -> None:
    with pytest.raises(ClusterError) as refused:
        cluster.apply([workloads.pod("around", floor.shop, annotations={annotation: ANNOTATIONS[annotation]})])
    assert f"ClusterMTLSPolicy {floor.name}, which may not be overridden, demands mode: Strict" in str(refused.value)
    assert "spec.namespaceSelector" in str(refused.value)


def test_annotations_that_are_written_later_change_nothing(cluster: Cluster, floor: Floor) -> None:
    words = [f"{name}={value}" for name, value in ANNOTATIONS.items()]
    cluster("annotate", "pod", "orders", "-n", floor.shop, *words)
    floor.stays_closed()


def test_pods_that_are_older_than_the_policy_or_opted_out_are_named_in_it_and_told_in_events(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    shop = namespace("shop", inject=True)
    cluster.apply_ready(
        workloads.pod("legacy", shop, "http", annotations={"handfast.dev/skip-inbound-ports": "8080"}),
        workloads.pod("bare", shop, "http", labels={"handfast.dev/inject": "disabled"}),
    )
    name, selector = f"floor-{shop}", {"matchLabels": {"kubernetes.io/metadata.name": shop}}
    cluster.apply([cluster_policy(name, mode="Strict", overridable=False, namespaceSelector=selector)])
    try:
        cluster("annotate", "pod", "legacy", "-n", shop, "handfast.dev/skip-inbound-ports-")
        cluster.wait("clustermtlspolicy", name, "condition=Evaded")
        found = {each["type"]: each["message"] for each in cluster.get("cmtls", name)["status"]["conditions"]}
        assert f"Pod {shop}/legacy (handfast.dev/skip-inbound-ports)" in found["Evaded"]
        assert f"1 pod without a sidecar is selected and not protected (Pod {shop}/bare)" in found["Ready"]

        def told() -> dict[str, str]:
            events = cluster.list("events", shop)
            return {each["reason"]: each["involvedObject"]["name"] for each in events}

        until("the Events", lambda: told().keys() >= {"GoesAroundFinalPolicy", "OptedOut"})
        assert (told()["GoesAroundFinalPolicy"], told()["OptedOut"]) == ("legacy", "bare")
    finally:
        cluster.delete("clustermtlspolicy", name)
