"""Precedence and inheritance: from the policies that select a pod to the one its sidecar acts on. Pure.

A port entry beats the workload's policy, that beats the namespace's, that beats the cluster's; an unset field inherits.
Of two policies of one level the older wins, field by field. What a cluster policy makes final beats all (final.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from handfast_operator.policy.access import allow_rules, deny_rules, grants_for, overfull
from handfast_operator.policy.final import decides_enforcement, deciding_ports, finals_first
from handfast_operator.policy.limits import limits_of, outbound_of
from handfast_operator.resources.access import AccessGrant
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy, Policy
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.policy.effective import (
    DEFAULT_ORIGIN,
    ENFORCED,
    NO_RULES,
    AllowRules,
    EffectivePolicy,
    EnforcementRule,
    ForeignRule,
    ModeRule,
)

DEFAULT_TTL: Final = timedelta(hours=24)
MIN_TTL: Final = timedelta(minutes=5)
MAX_TTL: Final = timedelta(days=30)
_DEFAULT_RULE: Final = EffectivePolicy().default
_NOT_FOREIGN: Final = ForeignRule()


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All policies of a cluster."""

    cluster: tuple[ClusterMtlsPolicy, ...] = ()
    namespaced: Mapping[str, tuple[MtlsPolicy, ...]] = field(default_factory=dict)
    """By namespace."""
    grants: Mapping[str, tuple[AccessGrant, ...]] = field(default_factory=dict)
    """Approvals that have not ended, by namespace."""


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """What holds for a pod: its sidecar's part, and the operator's."""

    policy: EffectivePolicy = field(default_factory=EffectivePolicy)
    ttl: timedelta = DEFAULT_TTL
    """Life of its leaf."""
    ttl_origin: str = DEFAULT_ORIGIN
    """The object that asks for it; the value may be a bound that it passed."""


def compile_policy(
    namespace: str, pod_labels: Labels, namespace_labels: Labels, policies: PolicySet, trust_domain: str
) -> CompiledPolicy:
    """The policy of a pod; service accounts and namespaces in its lists are those of the trust domain."""
    chain = policy_chain(namespace, pod_labels, namespace_labels, policies)
    # Fields that a cluster policy can make final are asked of `ruling`, all others of `chain`.
    ruling = finals_first(chain)
    mode = next((ModeRule(each.spec.mode, each.origin) for each in ruling if each.spec.mode is not None), _DEFAULT_RULE)
    ports: dict[int, ModeRule] = {}
    for each in deciding_ports(chain):
        for port, port_mode in each.spec.ports.items():
            ports.setdefault(port, ModeRule(port_mode, each.origin))
    foreign = next((_foreign(each) for each in chain if each.spec.foreign is not None), _NOT_FOREIGN)
    said = next(filter(decides_enforcement, ruling), None)
    enforcement = (
        ENFORCED if said is None else EnforcementRule(said.spec.enforcement or ENFORCED.enforcement, said.origin)
    )
    ttl, ttl_origin = next(
        ((each.spec.ttl, each.origin) for each in chain if each.spec.ttl is not None), (DEFAULT_TTL, DEFAULT_ORIGIN)
    )
    excess = overfull(chain)
    if excess is None:
        allow = allow_rules(chain, trust_domain, grants_for(namespace, pod_labels, policies.grants))
        deny = deny_rules(chain, trust_domain)
    else:
        allow, deny = AllowRules(NO_RULES, excess.origin), NO_RULES
    effective = EffectivePolicy(
        mode,
        ports,
        foreign,
        allow=allow,
        deny=deny,
        enforcement=enforcement,
        limits=limits_of(chain),
        outbound=outbound_of(ruling),
    )
    return CompiledPolicy(effective, min(max(ttl, MIN_TTL), MAX_TTL), ttl_origin)


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
