"""What a policy says of itself: conditions and counts. Pure.

A person reads here whether the policy was taken, whom it selects, and which older policy decides instead of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from handfast_operator.cluster.objects import Pod
from handfast_operator.policy.access import MAX_LISTS, overfull
from handfast_operator.policy.compile import PolicySet
from handfast_operator.policy.doubts import doubtful, doubts
from handfast_operator.policy.evasion import evaded, named_workloads
from handfast_operator.policy.final import decides_enforcement, decides_exceptions, is_final
from handfast_operator.policy.reach import Chain, chains_of, reach_of
from handfast_operator.policy.strangers import Existing
from handfast_operator.policy.words import pods
from handfast_operator.resources.conditions import Condition
from handfast_operator.resources.policies import LimitsSpec, MtlsPolicy, OutboundSpec, Policy, PolicySpec
from handfast_operator.resources.selectors import Labels


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """What is written to a policy's status."""

    conditions: tuple[Condition, ...]
    selected: int
    """Pods that the policy selects and that have our sidecar."""
    unmeshed: int
    """Pods that it selects in vain: they have no sidecar."""


def policy_status(
    policy: Policy, pods: Sequence[tuple[Pod, Labels]], policies: PolicySet, existing: Existing, now: datetime
) -> PolicyStatus:
    """The status of a policy; `pods` are the live ones of its reach, each with the labels of its namespace."""
    selected = [(pod, chain) for pod, chain in chains_of(pods, policies) if any(e.uid == policy.uid for e in chain)]
    meshed = [(pod, chain) for pod, chain in selected if pod.meshed]
    chains = _distinct(chain for _pod, chain in selected)
    found = doubts(policy, reach_of(meshed, existing.trust_domain), existing, now)
    return PolicyStatus(
        (
            _accepted(chains),
            _conflicted(policy, _older_rivals(policy, chains), _overrulers(policy, chains)),
            doubtful(found),
            *evaded(policy, selected),
            _ready(policy, len(meshed), [pod for pod, _chain in selected if not pod.meshed]),
        ),
        len(meshed),
        len(selected) - len(meshed),
    )


def _distinct(chains: Iterable[Chain]) -> list[Chain]:
    """Pods of one workload share one chain."""
    return list({id(chain): chain for chain in chains}.values())


def _older_rivals(policy: Policy, chains: Iterable[Chain]) -> dict[str, set[str]]:
    """Fields that an older policy of the same level decides for a selected pod, by that policy's name."""
    rivals: dict[str, set[str]] = {}
    for chain in chains:
        for each in chain:
            if each.uid == policy.uid:
                break
            if each.level == policy.level:
                names = {
                    name
                    for name in _fields(each) & _fields(policy)
                    if not (_may_be_final(name) and is_final(policy) and not is_final(each))
                }
                if names:
                    rivals.setdefault(each.origin, set()).update(names)
    return rivals


def _overrulers(policy: Policy, chains: Iterable[Chain]) -> dict[str, set[str]]:
    """Fields that a final policy decides instead of this one, by that policy's name."""
    overrulers: dict[str, set[str]] = {}
    for chain in chains:
        finals = [each for each in chain if is_final(each)]
        for name in filter(_may_be_final, _fields(policy)):
            by = next((each for each in finals if each.uid == policy.uid or _decides(each, name)), None)
            if by is not None and by.uid != policy.uid and not (is_final(policy) and name in _fields(by)):
                overrulers.setdefault(by.origin, set()).add(name)
    return overrulers


def _decides(final: Policy, name: str) -> bool:
    """Whether a final policy leaves nothing of a field to others: its mode is that of every port."""
    names = _fields(final)
    return (
        name in names
        or (name.startswith("ports[") and "mode" in names)
        or (name == "enforcement" and decides_enforcement(final))
        or (name == "outbound.except" and decides_exceptions(final))
    )


def _may_be_final(name: str) -> bool:
    return name in ("mode", "enforcement") or name.startswith(("ports[", "outbound."))


def _fields(policy: Policy) -> set[str]:
    spec = policy.spec
    names = {f"ports[{port}]" for port in spec.ports}
    if spec.mode is not None:
        names.add("mode")
    if spec.foreign is not None:
        names.add("foreign")
    if spec.allow is not None:
        names.add("allow")
    if spec.enforcement is not None:
        names.add("enforcement")
    if spec.ttl is not None:
        names.add("certificate.ttl")
    return names | _limited(spec) | _outgoing(spec)


def _limited(spec: PolicySpec) -> set[str]:
    limits = spec.limits or LimitsSpec()
    said = {
        "maxConnections": limits.total.max_connections,
        "connectionsPerSecond": limits.total.rate,
        "perClient.maxConnections": limits.client.max_connections,
        "perClient.connectionsPerSecond": limits.client.rate,
        "handshakesPerSecond": limits.handshakes_per_second,
    }
    return {f"limits.{name}" for name, value in said.items() if value is not None}


def _outgoing(spec: PolicySpec) -> set[str]:
    outbound = spec.outbound or OutboundSpec()
    said = {"unknown": outbound.unknown, "plaintext": outbound.plaintext, "except": outbound.exempt}
    return {f"outbound.{name}" for name, value in said.items() if value is not None}


def _accepted(chains: Iterable[Chain]) -> Condition:
    excess = next((found for chain in chains if (found := overfull(chain)) is not None), None)
    if excess is None:
        return Condition("Accepted", True, "Valid", "The policy is in force.")
    return Condition(
        "Accepted",
        False,
        "ListsTooLong",
        f"With {excess.origin}, allow and deny of all policies that select a pod come to more than {MAX_LISTS} bytes, "
        "which is more than a sidecar can be told: nobody may connect to such pods. Name namespaces, or SPIFFE IDs "
        "that end in /*, instead of many service accounts.",
    )


def _conflicted(policy: Policy, rivals: dict[str, set[str]], overrulers: dict[str, set[str]]) -> Condition:
    if not rivals and not overrulers:
        return Condition("Conflicted", False, "NoConflict", f"No other {policy.level} policy decides the same fields.")
    final = "; ".join(f"{origin} may not be overridden and decides {_told(names)}" for origin, names in _by(overrulers))
    older = "; ".join(f"{origin} is older and decides {_told(names)}" for origin, names in _by(rivals))
    told = "; ".join(filter(None, (final, older)))
    return Condition(
        "Conflicted",
        True,
        "ClusterPolicyFinal" if final else "OlderPolicyWins",
        f"For some pods, {told}. Remove the fields from {'this policy' if final else 'one of the policies'}.",
    )


def _by(names: dict[str, set[str]]) -> list[tuple[str, set[str]]]:
    return sorted(names.items())


def _told(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _ready(policy: Policy, meshed: int, bare: Sequence[Pod]) -> Condition:
    """`bare`: the selected pods without a sidecar."""
    named = f" ({named_workloads(bare)})" if is_final(policy) else ""
    if meshed:
        verb = "is" if len(bare) == 1 else "are"
        also = f"; {pods(len(bare))} without a sidecar {verb} selected and not protected{named}" if bare else ""
        return Condition("Ready", True, "Selecting", f"Decides for {pods(meshed)}{also}.")
    if bare:
        return Condition(
            "Ready",
            False,
            "NoSidecars",
            f"Selects {pods(len(bare))} without a sidecar{named}: label their namespace handfast.dev/inject=enabled "
            "and restart them.",
        )
    return Condition("Ready", False, "SelectsNothing", f"Selects no pod: {_hint(policy)}")


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
