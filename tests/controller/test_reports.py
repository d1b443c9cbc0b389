"""What owners of pods are told, and when."""

from dataclasses import replace

import pytest

from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller.events import Regarding
from handfast_operator.controller.reports import Reports, report, report_against
from handfast_operator.policy.final import INBOUND, Demand
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy, PolicySpec
from handfast_sidecar.policy.effective import Mode
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
        self.pods, self.namespaces, self.policies = Store[Pod](), Store[Namespace](), Store[ClusterMtlsPolicy]()
        index = PolicyIndex(self.pods, self.namespaces, Store[MtlsPolicy](), self.policies, "cluster.local")
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


# --- pods for which a final policy does not hold

OPTED_OUT = pod("shop", "bare", meshed=False, labels={"handfast.dev/inject": "disabled"})
SKIPS = replace(pod("shop", "skips", owner="StatefulSet/skips"), around=("handfast.dev/skip-inbound-ports",))
FLOOR = Demand("ClusterMTLSPolicy floor", "mode: Strict", INBOUND)


def floor(version: int = 1, *, overridable: bool = False) -> ClusterMtlsPolicy:
    spec = PolicySpec(Mode.STRICT)
    return ClusterMtlsPolicy(
        "floor", "u", version, version, "2026-01-01T00:00:00Z", None, spec, overridable=overridable
    )


def test_a_pod_that_opted_out_of_a_final_policy_is_told_of_the_policy_and_how_to_come_back() -> None:
    told = report_against(OPTED_OUT, [FLOOR])
    assert told is not None
    assert told[0] == "OptedOut"
    assert "ClusterMTLSPolicy floor, which may not be overridden, demands mode: Strict" in told[1]
    assert "remove the label and restart it" in told[1]
    assert report_against(OPTED_OUT, []) is None


def test_a_pod_older_than_a_final_policy_that_goes_around_it_is_to_be_restarted() -> None:
    told = report_against(SKIPS, [FLOOR])
    assert told is not None
    assert told[0] == "GoesAroundFinalPolicy"
    assert "created with handfast.dev/skip-inbound-ports" in told[1]
    assert "kubectl rollout restart statefulset/skips -n shop" in told[1]
    outbound = replace(SKIPS, around=("handfast.dev/skip-outbound-ports",))
    assert report_against(outbound, [FLOOR]) is None, "this policy does not ask for that"


@pytest.mark.parametrize("ended", [{"phase": "Succeeded"}, {"deleting": True}])
def test_a_pod_that_ends_goes_around_nothing(ended: dict[str, object]) -> None:
    assert report_against(replace(OPTED_OUT, **ended), [FLOOR]) is None  # type: ignore[arg-type]


def test_a_final_policy_that_comes_tells_the_owners_of_the_pods_it_does_not_hold_for() -> None:
    rig = Rig()
    rig.label(1, {})
    for each in (OPTED_OUT, SKIPS, pod("shop", "good")):
        rig.pods.put(each)
    rig.policies.put(floor(1, overridable=True))
    assert rig.said == []
    rig.policies.put(floor(2))
    assert rig.said == [("bare", "Warning", "OptedOut"), ("skips", "Warning", "GoesAroundFinalPolicy")]
    rig.policies.put(replace(floor(2), resource_version=3))
    assert len(rig.said) == 2, "only its status changed"
