"""A namespace's user, by RBAC: nothing that he can write lifts a final policy, or changes anybody else's traffic."""

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.attempts import ANNOTATIONS, specs
from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.manifests import Manifest
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, cluster_policy, identity_of, policy, until
from cluster.release import Release

USER = "tenant"
AS_USER = (f"--as={USER}", "--as-group=system:authenticated")
RBAC = "rbac.authorization.k8s.io"
FORBIDDEN = r"[Ff]orbidden"


class Tenancy:
    """The user's namespace under a final Strict, his neighbour's, and one without sidecars."""

    def __init__(self, cluster: Cluster, own: str, neighbour: str, outside: str) -> None:
        self.cluster, self.own, self.neighbour, self.outside = cluster, own, neighbour, outside
        self.floor = f"floor-{own}"

    def apply(self, *objects: Manifest) -> None:
        """As the user."""
        self.cluster.apply(objects, *AS_USER)

    def __call__(self, *words: str) -> str:
        """kubectl, as the user."""
        return self.cluster(*words, *AS_USER)

    def served(self, client_of: str, server_of: str) -> bool:
        """Whether `client` of one namespace gets an answer of `orders` in another."""
        words = ["load", f"http://orders.{server_of}:8080/", "--requests=1", "--close"]
        return bool(self.cluster.client("client", client_of, *words)["failed"] == 0)

    def holds(self) -> None:
        """The final policy does, and the neighbour's traffic is what it was: Strict, among his own, in tunnels."""
        assert not self.served(self.outside, self.own)
        assert not self.served(self.outside, self.neighbour)
        assert self.served(self.own, self.own)
        assert self.served(self.neighbour, self.neighbour)
        carried = [each for each in access_log(self.cluster, "orders", self.neighbour) if each["verdict"] != "refused"]
        assert carried[-1]["peer"] == identity_of(self.neighbour)
        assert carried[-1]["tls"]["version"] == "TLSv1.3"


def role(namespace: str) -> list[Manifest]:
    """What the cluster's `admin` has in a namespace, policies, and slices, which some clusters give as well."""
    subject = {"kind": "User", "name": USER, "apiGroup": RBAC}
    meta = {"name": USER, "namespace": namespace}

    def binding(name: str, to: str, kind: str) -> Manifest:
        return {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": to},
            "subjects": [subject],
        }

    rules: list[dict[str, Any]] = [
        {"apiGroups": ["handfast.dev"], "resources": ["mtlspolicies"], "verbs": ["*"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["*"]},
    ]
    return [
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": meta, "rules": rules},
        binding(USER, USER, "Role"),
        binding(f"{USER}-admin", "admin", "ClusterRole"),
    ]


@pytest.fixture(scope="module")
def tenancy(
    cluster: Cluster, handfast: Release, workloads: Workloads, module_namespace: NamespaceFactory
) -> Iterator[Tenancy]:
    own, neighbour = module_namespace("own", inject=True), module_namespace("neighbour", inject=True)
    outside = module_namespace("outside")
    for each in (own, neighbour):
        cluster.apply(workloads.server("orders", each, "http"))
        cluster.apply([workloads.pod("client", each)])
    cluster.apply([workloads.pod("client", outside)])
    for pod, where in (("orders", own), ("client", own), ("orders", neighbour), ("client", neighbour)):
        cluster.wait("pod", pod, "condition=Ready", where)
    cluster.wait("pod", "client", "condition=Ready", outside)
    for where in (own, neighbour):
        cluster.wait_reachable("client", where, f"orders.{where}", 8080)
    made = Tenancy(cluster, own, neighbour, outside)
    selector = {"matchLabels": {"kubernetes.io/metadata.name": own}}
    cluster.apply(
        [
            *role(own),
            policy(neighbour, "strict", mode="Strict"),
            cluster_policy(
                made.floor, mode="Strict", enforcement="Enforce", overridable=False, namespaceSelector=selector
            ),
        ]
    )
    try:
        until("Strict holds in both", lambda: not made.served(outside, own) and not made.served(outside, neighbour))
        yield made
    finally:
        cluster.delete("clustermtlspolicy", made.floor)


@pytest.mark.parametrize("attempt", specs())
def test_no_field_of_a_users_policy_changes_what_others_decided(
    cluster: Cluster, tenancy: Tenancy, attempt: str
) -> None:
    tenancy.apply(policy(tenancy.own, "attempt", **specs()[attempt]))
    try:
        cluster.wait("mtlspolicy", "attempt", "condition=Accepted", tenancy.own)
        for _ in range(2):
            tenancy.holds()
    finally:
        tenancy("delete", "mtlspolicy", "attempt", "-n", tenancy.own)


def test_a_user_writes_nothing_outside_his_namespace_and_not_its_labels(tenancy: Tenancy) -> None:
    floor = '{"spec":{"overridable":true}}'
    for words in (
        ("patch", "clustermtlspolicy", tenancy.floor, "--type=merge", "-p", floor),
        ("delete", "clustermtlspolicy", tenancy.floor),
        ("delete", "mtlspolicy", "strict", "-n", tenancy.neighbour),
        ("label", "namespace", tenancy.own, "kubernetes.io/metadata.name-"),
        ("label", "namespace", tenancy.own, "handfast.dev/inject=disabled", "--overwrite"),
        ("label", "namespace", tenancy.neighbour, "handfast.dev/inject-"),
        ("label", "pod", "orders", "app=other", "--overwrite", "-n", tenancy.neighbour),
    ):
        with pytest.raises(ClusterError, match=FORBIDDEN):
            tenancy(*words)
    with pytest.raises(ClusterError, match=FORBIDDEN):
        tenancy.apply(policy(tenancy.neighbour, "mine", mode="Disabled"))
    with pytest.raises(ClusterError, match=FORBIDDEN):
        tenancy.apply(cluster_policy("mine", mode="Disabled", overridable=False))


def test_a_user_writes_no_status_and_so_no_address_of_a_pod(tenancy: Tenancy) -> None:
    address = '{"status":{"podIPs":[{"ip":"192.0.2.1"}],"podIP":"192.0.2.1"}}'
    with pytest.raises(ClusterError, match=FORBIDDEN):
        tenancy("patch", "pod", "orders", "-n", tenancy.own, "--subresource=status", "--type=merge", "-p", address)


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_a_users_pod_does_not_go_around_the_policy(workloads: Workloads, tenancy: Tenancy, annotation: str) -> None:
    wish = {annotation: ANNOTATIONS[annotation]}
    with pytest.raises(ClusterError, match=f"ClusterMTLSPolicy {tenancy.floor}, which may not be overridden"):
        tenancy.apply(workloads.pod("around", tenancy.own, "http", annotations=wish))


def test_labels_and_annotations_of_a_running_pod_change_nothing(tenancy: Tenancy) -> None:
    wishes = [f"{name}={value}" for name, value in ANNOTATIONS.items()]
    tenancy("annotate", "pod", "orders", "-n", tenancy.own, *wishes)
    tenancy("label", "pod", "orders", "-n", tenancy.own, "handfast.dev/inject=disabled", "tier=front")
    for _ in range(2):
        tenancy.holds()


def test_a_slice_that_names_the_neighbours_pod_leads_nobody_to_it_in_plaintext(
    cluster: Cluster, workloads: Workloads, tenancy: Tenancy
) -> None:
    """The user names a pod of his own without a sidecar, at the address of his neighbour's."""
    bare = workloads.pod("bare", tenancy.own, "http", labels={"handfast.dev/inject": "disabled"})
    tenancy.apply(bare, workloads.service("lure", tenancy.own, [8080], selector=None))
    cluster.wait("pod", "bare", "condition=Ready", tenancy.own)
    uid = cluster.get("pod", "bare", tenancy.own)["metadata"]["uid"]
    victim = cluster.address_of("orders", tenancy.neighbour)
    tenancy.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "lure-1",
                "namespace": tenancy.own,
                "labels": {"kubernetes.io/service-name": "lure"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "port-8080", "port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {
                    "addresses": [victim],
                    "conditions": {"ready": True},
                    "targetRef": {"kind": "Pod", "name": "bare", "namespace": tenancy.own, "uid": uid},
                }
            ],
        }
    )
    before = len(access_log(cluster, "orders", tenancy.neighbour))
    words = ["load", f"http://lure.{tenancy.own}:8080/", "--requests=1", "--close"]
    for _ in range(3):
        cluster.client("client", tenancy.neighbour, *words)
    seen = access_log(cluster, "orders", tenancy.neighbour)[before:]
    assert not [line for line in seen if line["peer"] is None], "a meshed client never dials it in plaintext"
    tenancy.holds()
