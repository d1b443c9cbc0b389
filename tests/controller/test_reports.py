"""What owners of pods are told, and when."""

import pytest

from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller.events import Regarding
from handfast_operator.controller.reports import Reports, report
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy
from support.objects import pod

IMAGE = "localhost/handfast-sidecar:test"
ENABLED = {"handfast.dev/inject": "enabled"}


def about(found: Pod, labels: dict[str, str] | None = None, image: str = IMAGE) -> str:
    told = report(found, ENABLED if labels is None else labels, "handfast-system", image)
    return ": ".join(told) if told is not None else ""


def test_nothing_is_said_about_pods_that_are_as_their_owner_expects() -> None:
    assert about(pod("shop", "cart")) == ""
    assert about(pod("shop", "cart", meshed=False), {}) == ""


def test_a_pod_older_than_the_label_is_to_be_restarted() -> None:
    assert "older than the label" in about(pod("shop", "cart", meshed=False))
    assert "restart it" in about(pod("shop", "cart", meshed=False, labels=ENABLED), {})


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (pod("shop", "cart", meshed=False, host_network=True), "hostNetwork"),
        (pod("shop", "cart", meshed=False, mirror=True), "static pod"),
        (pod("kube-system", "cart", meshed=False), "never injected"),
    ],
)
def test_a_pod_that_was_left_out_is_told_why(found: Pod, word: str) -> None:
    assert about(found).startswith("NotInjected: the pod has no sidecar, because")
    assert word in about(found)


def test_an_old_sidecar_names_both_images() -> None:
    told = about(pod("shop", "cart"), image="handfast/sidecar:new")
    assert told.startswith("OldSidecar: ")
    assert IMAGE in told
    assert "handfast/sidecar:new" in told


def test_pods_that_end_are_left_in_peace() -> None:
    assert about(pod("shop", "cart", meshed=False, phase="Succeeded")) == ""
    assert about(pod("shop", "cart", meshed=False, deleting=True)) == ""


class Rig:
    def __init__(self) -> None:
        self.pods, self.namespaces = Store[Pod](), Store[Namespace]()
        index = PolicyIndex(self.pods, self.namespaces, Store[MtlsPolicy](), Store[ClusterMtlsPolicy]())
        self.said: list[tuple[str, str, str]] = []
        Reports(self.pods, self.namespaces, index, "handfast-system", IMAGE, self.say)

    def say(self, regarding: Regarding, kind: str, reason: str, note: str) -> None:
        self.said.append((regarding.name, kind, reason))

    def label(self, version: int, labels: dict[str, str]) -> None:
        self.namespaces.put(Namespace("shop", version, labels, terminating=False))


def test_a_label_on_the_namespace_tells_the_owners_of_the_pods_that_are_there() -> None:
    rig = Rig()
    rig.label(1, {})
    rig.pods.put(pod("shop", "cart", meshed=False))
    rig.pods.put(pod("bank", "safe", meshed=False))
    assert rig.said == []
    rig.label(2, ENABLED)
    assert rig.said == [("cart", "Warning", "NotInjected")]


def test_a_pod_that_came_before_its_namespace_is_told_of_when_that_is_known() -> None:
    rig = Rig()
    rig.pods.put(pod("shop", "cart", meshed=False))
    rig.label(1, ENABLED)
    assert rig.said == [("cart", "Warning", "NotInjected")]


def test_a_pod_that_changes_is_not_told_of_again() -> None:
    rig = Rig()
    rig.label(1, ENABLED)
    rig.pods.put(pod("shop", "cart", meshed=False))
    rig.pods.put(pod("shop", "cart", meshed=False, version=2, ready=False))
    assert len(rig.said) == 1
