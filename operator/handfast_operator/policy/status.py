"""What a policy says of itself: conditions and counts. Pure.

A person reads here whether the policy was taken, whom it selects, and which older policy decides instead of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from handfast_operator.cluster.objects import Pod
from handfast_operator.policy.compile import Policy, PolicySet, policy_chain
from handfast_operator.resources.conditions import Condition
from handfast_operator.resources.policies import MtlsPolicy
from handfast_operator.resources.selectors import Labels


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """What is written to a policy's status."""

    conditions: tuple[Condition, ...]
    selected: int
    """Pods that the policy selects and that have our sidecar."""
    unmeshed: int
    """Pods that it selects in vain: they have no sidecar."""


def policy_status(policy: Policy, pods: Sequence[tuple[Pod, Labels]], policies: PolicySet) -> PolicyStatus:
    """The status of a policy; `pods` are the live ones of its reach, each with the labels of its namespace."""
    selected = [
        (pod, labels)
        for pod, labels in pods
        if not pod.terminal
        and any(each.uid == policy.uid for each in policy_chain(pod.namespace, pod.labels, labels, policies))
    ]
    meshed = [pod for pod, _labels in selected if pod.meshed]
    rivals = _older_rivals(policy, selected, policies)
    return PolicyStatus(
        (_accepted(), _conflicted(policy, rivals), _ready(policy, len(meshed), len(selected) - len(meshed))),
        len(meshed),
        len(selected) - len(meshed),
    )


def _older_rivals(policy: Policy, selected: Sequence[tuple[Pod, Labels]], policies: PolicySet) -> dict[str, set[str]]:
    """Fields that an older policy of the same level decides for a selected pod, by that policy's name."""
    rivals: dict[str, set[str]] = {}
    for pod, labels in selected:
        for each in policy_chain(pod.namespace, pod.labels, labels, policies):
            if each.uid == policy.uid:
                break
            if _level(each) == _level(policy):
                for name in _fields(each) & _fields(policy):
                    rivals.setdefault(each.origin, set()).add(name)
    return rivals


def _fields(policy: Policy) -> set[str]:
    spec = policy.spec
    names = {f"ports[{port}]" for port in spec.ports}
    if spec.mode is not None:
        names.add("mode")
    if spec.foreign is not None:
        names.add("foreign")
    if spec.ttl is not None:
        names.add("certificate.ttl")
    return names


def _level(policy: Policy) -> str:
    if isinstance(policy, MtlsPolicy):
        return "namespace" if policy.selector is None else "workload"
    return "cluster"


def _accepted() -> Condition:
    return Condition("Accepted", True, "Valid", "The policy is in force.")


def _conflicted(policy: Policy, rivals: dict[str, set[str]]) -> Condition:
    if not rivals:
        return Condition(
            "Conflicted", False, "NoConflict", f"No other {_level(policy)} policy decides the same fields."
        )
    told = "; ".join(
        f"{origin} is older and decides {', '.join(sorted(names))}" for origin, names in sorted(rivals.items())
    )
    return Condition(
        "Conflicted", True, "OlderPolicyWins", f"For some pods, {told}. Remove the fields from one of the policies."
    )


def _ready(policy: Policy, meshed: int, unmeshed: int) -> Condition:
    if meshed:
        also = f"; {_pods(unmeshed)} without a sidecar are selected and not protected" if unmeshed else ""
        return Condition("Ready", True, "Selecting", f"Decides for {_pods(meshed)}{also}.")
    if unmeshed:
        return Condition(
            "Ready",
            False,
            "NoSidecars",
            f"Selects {_pods(unmeshed)} without a sidecar: label their namespace handfast.dev/inject=enabled "
            "and restart them.",
        )
    return Condition("Ready", False, "SelectsNothing", f"Selects no pod: {_hint(policy)}")


def _pods(count: int) -> str:
    return "1 pod" if count == 1 else f"{count} pods"


def _hint(policy: Policy) -> str:
    if isinstance(policy, MtlsPolicy):
        if policy.selector is None:
            return f"no pod runs in the namespace {policy.namespace}."
        return f"no pod of the namespace {policy.namespace} has the labels of spec.selector."
    return (
        "no namespace with pods has the labels of spec.namespaceSelector."
        if policy.namespace_selector
        else "no pod runs."
    )
