"""Precedence and inheritance: from the policies that select a pod to the one its sidecar acts on. Pure.

A port entry beats the workload's policy, that beats the namespace's, that beats the cluster's; an unset field inherits.
Of two policies of one level the older wins, field by field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.policy.effective import EffectivePolicy, ForeignRule, ModeRule

DEFAULT_TTL: Final = timedelta(hours=24)
MIN_TTL: Final = timedelta(minutes=5)
MAX_TTL: Final = timedelta(days=30)
_DEFAULT_RULE: Final = EffectivePolicy().default
_NOT_FOREIGN: Final = ForeignRule()

Policy = MtlsPolicy | ClusterMtlsPolicy


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All policies of a cluster."""

    cluster: tuple[ClusterMtlsPolicy, ...] = ()
    namespaced: Mapping[str, tuple[MtlsPolicy, ...]] = field(default_factory=dict)
    """By namespace."""


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """What holds for a pod: its sidecar's part, and the operator's."""

    policy: EffectivePolicy = field(default_factory=EffectivePolicy)
    ttl: timedelta = DEFAULT_TTL
    """Life of its leaf."""


def compile_policy(namespace: str, pod_labels: Labels, namespace_labels: Labels, policies: PolicySet) -> CompiledPolicy:
    """The policy of a pod."""
    chain = policy_chain(namespace, pod_labels, namespace_labels, policies)
    mode = next((ModeRule(each.spec.mode, each.origin) for each in chain if each.spec.mode is not None), _DEFAULT_RULE)
    ports: dict[int, ModeRule] = {}
    for each in chain:
        for port, port_mode in each.spec.ports.items():
            ports.setdefault(port, ModeRule(port_mode, each.origin))
    foreign = next((_foreign(each) for each in chain if each.spec.foreign is not None), _NOT_FOREIGN)
    ttl = next((each.spec.ttl for each in chain if each.spec.ttl is not None), DEFAULT_TTL)
    return CompiledPolicy(EffectivePolicy(mode, ports, foreign), min(max(ttl, MIN_TTL), MAX_TTL))


def _foreign(policy: Policy) -> ForeignRule:
    """What one policy says; an empty list closes what a weaker level opens, and is then nobody's rule."""
    said = policy.spec.foreign
    return ForeignRule(said.ports, said.min_version, policy.origin) if said is not None and said.ports else _NOT_FOREIGN


def policy_chain(namespace: str, pod_labels: Labels, namespace_labels: Labels, policies: PolicySet) -> list[Policy]:
    """Every policy that selects the pod, the strongest first."""
    own = policies.namespaced.get(namespace, ())
    workload = [each for each in own if each.selector is not None and each.selector.matches(pod_labels)]
    whole = [each for each in own if each.selector is None]
    cluster = [
        each
        for each in policies.cluster
        if each.namespace_selector is None or each.namespace_selector.matches(namespace_labels)
    ]
    return [*_oldest_first(workload), *_oldest_first(whole), *_oldest_first(cluster)]


def _oldest_first(policies: Sequence[Policy]) -> list[Policy]:
    """Creation times have seconds, so the name decides between twins: the same on every replica."""
    return sorted(policies, key=lambda each: (each.created, each.key))
