"""The index tells of each pod whose policy changed, and of no other."""

from dataclasses import replace
from typing import Any

from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.parse import parse_mtls_policy
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy, PolicySpec
from handfast_operator.resources.selectors import parse_selector
from handfast_sidecar.policy.effective import Mode, ModeRule
from support.objects import pod


class World:
    """Stores with two pods in two namespaces, their index, and who was told about."""

    def __init__(self) -> None:
        self.pods: Store[Pod] = Store()
        self.namespaces: Store[Namespace] = Store()
        self.policies: Store[MtlsPolicy] = Store()
        self.cluster: Store[ClusterMtlsPolicy] = Store()
        self.index = PolicyIndex(self.pods, self.namespaces, self.policies, self.cluster, "cluster.local")
        self.told: list[str] = []
        self.index.subscribe(lambda each: self.told.append(each.name))
        for name, namespace in (("orders", "shop"), ("web", "front")):
            self.namespaces.put(Namespace(namespace, 1, {}, terminating=False))
            self.pods.put(pod(namespace, name, labels={"app": name}))
        for each in self.pods:
            self.index.compiled(each)


def policy(namespace: str, mode: Mode, version: int = 10, app: str = "") -> MtlsPolicy:
    selector = parse_selector({"matchLabels": {"app": app}}) if app else None
    return MtlsPolicy(namespace, "p", "uid-p", version, version, "2026-01-01T00:00:00Z", selector, PolicySpec(mode))


def test_a_policy_is_told_to_the_pods_of_its_namespace_alone() -> None:
    world = World()
    world.policies.put(policy("shop", Mode.STRICT))
    assert world.told == ["orders"]
    assert world.index.revision == 10


def test_a_policy_that_changes_nothing_tells_nobody() -> None:
    world = World()
    world.policies.put(policy("shop", Mode.STRICT, app="other"))
    assert world.told == []


def test_a_status_update_is_no_change() -> None:
    world = World()
    known = policy("shop", Mode.STRICT)
    world.policies.put(known)
    world.policies.put(replace(known, resource_version=11))
    assert world.told == ["orders"]


def test_a_promotion_is_a_change_though_only_the_status_tells_of_it() -> None:
    world = World()
    raw: dict[str, Any] = {
        "metadata": {
            "namespace": "shop",
            "name": "p",
            "uid": "u",
            "resourceVersion": "10",
            "creationTimestamp": "2026",
        },
        "spec": {"mode": "Auto"},
        "status": {"promotion": {"quietSince": "2026-03-01T12:00:00Z"}},
    }
    world.policies.put(parse_mtls_policy(raw))
    told, [orders] = len(world.told), world.index.pods_of("shop")
    raw["metadata"]["resourceVersion"], raw["status"] = "11", {"promotion": {"promotedAt": "2026-03-02T12:00:00Z"}}
    world.policies.put(parse_mtls_policy(raw))
    assert world.told[told:] == ["orders"]
    assert world.index.compiled(orders).policy.default == ModeRule(Mode.STRICT, "MTLSPolicy shop/p")


def test_a_deleted_policy_gives_back_the_default_and_raises_the_revision() -> None:
    world = World()
    world.policies.put(policy("shop", Mode.STRICT))
    world.policies.remove(("shop", "p"), 12)
    assert world.told == ["orders", "orders"]
    assert world.index.revision == 12


def test_a_cluster_policy_is_told_to_every_pod_it_changes() -> None:
    world = World()
    world.policies.put(policy("shop", Mode.STRICT))
    world.cluster.put(ClusterMtlsPolicy("c", "uid-c", 20, 1, "2026-01-01T00:00:00Z", None, PolicySpec(Mode.DISABLED)))
    assert world.told == ["orders", "web"]


def test_labels_decide_anew_when_they_change() -> None:
    world = World()
    world.policies.put(policy("shop", Mode.STRICT, app="orders"))
    relabelled = pod("shop", "orders", labels={"app": "else"}, version=3)
    world.pods.put(relabelled)
    assert world.told == ["orders", "orders"]
    assert world.index.compiled(relabelled).policy.default.mode is Mode.PERMISSIVE
