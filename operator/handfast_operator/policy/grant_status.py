"""What a grant says of itself: whether it is in force, for how many pods, and what keeps it from its effect. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from handfast_operator.cluster.objects import Pod
from handfast_operator.policy.access import MAX_GRANTS
from handfast_operator.policy.history import APPROVED, DENIED, EXPIRED, Entry
from handfast_operator.policy.words import pods
from handfast_operator.resources.access import AccessGrant, Decision
from handfast_operator.resources.answer import told_ports
from handfast_operator.resources.conditions import Condition
from handfast_operator.resources.times import format_time
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy


@dataclass(frozen=True, slots=True)
class GrantStatus:
    """What is written to a grant's status, its history excepted."""

    conditions: tuple[Condition, ...]
    selected: int
    """Pods that it selects and that have our sidecar."""


def grant_status(
    grant: AccessGrant, pods: Sequence[tuple[Pod, EffectivePolicy]], trust_domain: str, now: datetime
) -> GrantStatus:
    """The status of a grant; `pods` are those of its namespace, each with what its sidecar acts on."""
    selected = [(pod, policy) for pod, policy in pods if not pod.terminal and grant.selects(pod.namespace, pod.labels)]
    policies = [policy for pod, policy in selected if pod.meshed]
    conditions = [_active(grant, len(policies), now)]
    if grant.until > now.timestamp():
        conditions += [_no_effect(grant, len(selected), policies), _overruled(grant, policies, trust_domain)]
    return GrantStatus(tuple(conditions), len(policies))


def grant_history(grant: AccessGrant, now: datetime) -> list[Entry]:
    """What has happened to it, by what it says itself."""
    created, who = format_time(grant.created), grant.answered_by
    if grant.decision is Decision.DENY:
        return [Entry(created, DENIED, f"{grant.callers} may not call: {_words(grant)}", who, grant.name)]
    told = [Entry(created, APPROVED, f"{grant.callers} may call {_until(grant)}: {_words(grant)}", who, grant.name)]
    if grant.expires_at is not None and grant.until <= now.timestamp():
        told.append(Entry(format_time(grant.expires_at), EXPIRED, f"what {grant.origin} granted ended", "", grant.name))
    return told


def _active(grant: AccessGrant, meshed: int, now: datetime) -> Condition:
    if grant.decision is Decision.DENY:
        return Condition("Active", False, "Denied", "A denial answers its request, and has no other effect.")
    if grant.until <= now.timestamp():
        return Condition("Active", False, "Expired", f"It ended at {_until(grant)[6:]}. Delete it when you like.")
    sentence = f"{grant.callers} may call {told_ports(grant.ports)} of {pods(meshed)} {_until(grant)}."
    return Condition("Active", True, "InForce", sentence)


def _no_effect(grant: AccessGrant, selected: int, policies: Sequence[EffectivePolicy]) -> Condition:
    if not selected:
        return _in_vain("SelectsNothing", f"No pod of {grant.namespace} has the labels of spec.selector.")
    if not policies:
        return _in_vain(
            "NoSidecars",
            f"It selects {pods(selected)} without a sidecar: label {grant.namespace} handfast.dev/inject=enabled and"
            " restart them.",
        )
    closed = [policy.allow for policy in policies if policy.allow is not None]
    if not closed:
        return _in_vain(
            "NoAllowDecides", "No policy with an allow selects the pods: all of the trust domain may call them already."
        )
    counted = sum(any(rule.origin == grant.origin for rule in allow.rules.rules) for allow in closed)
    if not counted:
        return _in_vain(
            "TooManyGrants",
            f"Of the grants for a pod the {MAX_GRANTS} oldest have effect: delete some, or let callers in by an allow.",
        )
    return Condition("NoEffect", False, "Effective", f"It extends the allow of {counted} of {pods(len(policies))}.")


def _in_vain(reason: str, sentence: str) -> Condition:
    return Condition("NoEffect", True, reason, sentence)


def _overruled(grant: AccessGrant, policies: Sequence[EffectivePolicy], trust_domain: str) -> Condition:
    by: dict[str, set[str]] = {}
    for policy in {id(each): each for each in policies}.values():
        for account in grant.callers.service_accounts if policy.deny.rules else ():
            peer = SpiffeId.of_service_account(trust_domain, grant.callers.namespace, account)
            for port in _ports_to_try(grant, policy):
                origin = policy.deny.origin_for(peer, port)
                if origin:
                    by.setdefault(origin, set()).add(f"{grant.callers.namespace}/{account}")
    if not by:
        return Condition("Overruled", False, "NotDenied", "No policy denies the callers.")
    told = "; ".join(f"{origin} denies {', '.join(sorted(names))}" for origin, names in sorted(by.items()))
    return Condition("Overruled", True, "Denied", f"{told}: a deny beats every grant.")


def _ports_to_try(grant: AccessGrant, policy: EffectivePolicy) -> set[int]:
    """Its own; of a grant for every port those that rules name, and one that none does."""
    if grant.ports is not None:
        return set(grant.ports)
    return {0, *(port for rule in policy.deny.rules for port in rule.ports or ())}


def _until(grant: AccessGrant) -> str:
    return f"until {format_time(grant.expires_at)}" if grant.expires_at is not None else ""


def _words(grant: AccessGrant) -> str:
    return grant.answer or grant.reason or "nothing was said"
