"""Who may connect: `allow` and `deny` of the policies that select a pod, as its sidecar is told. Pure.

The strongest policy that has an `allow` decides whom it lets in, so that a workload may be opened or closed against its
namespace's; `deny` is added up over all levels, so that nobody below can take one back. Grants extend the `allow` that
decides, whichever that is, and nothing else.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from handfast_operator.resources.access import AccessGrant
from handfast_operator.resources.policies import AccessRule, Caller, MtlsPolicy, Policy
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.errors import BadInput, BadSpiffeId
from handfast_sidecar.identity.spiffe import SCHEME, SpiffeId
from handfast_sidecar.policy.authorisation import Rule, RuleSet, Source
from handfast_sidecar.policy.effective import AllowRules
from handfast_sidecar.policy.principals import ANY_BELOW, Principal

Grants = Mapping[str, tuple[AccessGrant, ...]]
MAX_LISTS: Final = 600_000
"""Bytes of `allow` and `deny` for one pod, together: its Secret holds a megabyte, and so does a line of the directory.
About 6,000 service accounts."""
MAX_GRANTS: Final = 256
"""Grants that have effect on one pod, the oldest: a caller whom nobody lets in costs its sidecar a look at each."""


def allow_rules(chain: Sequence[Policy], trust_domain: str, grants: Sequence[AccessGrant] = ()) -> AllowRules | None:
    """Whom the strongest policy with an `allow` lets in, and these grants beside it; None: no policy has one, so all
    of the trust domain are let in already. `chain`: the strongest first."""
    for policy in chain:
        if policy.spec.allow is not None:
            rules = [*_rules(policy, policy.spec.allow, trust_domain), *(_grant(each, trust_domain) for each in grants)]
            return AllowRules(RuleSet(rules), policy.origin)
    return None


def overfull(chain: Sequence[Policy]) -> Policy | None:
    """The policy with which the lists for a pod become longer than a sidecar can be told; None: all are told.

    Then nobody may connect: who is denied must not get in because others are denied as well. `chain`: the strongest
    first.
    """
    total, allowed = 0, False
    for policy in chain:
        total += sum(map(_size, policy.spec.deny))
        if policy.spec.allow is not None and not allowed:
            total, allowed = total + sum(map(_size, policy.spec.allow)), True
        if total > MAX_LISTS:
            return policy
    return None


def _size(entry: AccessRule) -> int:
    """About the bytes that it takes as JSON."""
    ports = 8 * len(entry.ports or ())
    callers = (
        len(each.service_account) + len(each.namespace) + len(each.principal) + len(each.spki_sha256)
        for each in entry.callers or ()
    )
    return 80 + ports + sum(64 + length for length in callers)


def grants_for(namespace: str, pod_labels: Labels, grants: Grants) -> list[AccessGrant]:
    """The grants that have effect on such a pod, in an order that every replica finds."""
    chosen = (each for each in grants.get(namespace, ()) if each.selects(namespace, pod_labels))
    return sorted(chosen, key=lambda each: (each.created, each.key))[:MAX_GRANTS]


def deny_rules(chain: Sequence[Policy], trust_domain: str) -> RuleSet:
    """Whom any of the policies denies."""
    return RuleSet([rule for policy in chain for rule in _rules(policy, policy.spec.deny, trust_domain)])


def _rules(policy: Policy, entries: Iterable[AccessRule], trust_domain: str) -> Iterable[Rule]:
    own = policy.namespace if isinstance(policy, MtlsPolicy) else ""
    for entry in entries:
        sources = None if entry.callers is None else tuple(_sources(entry.callers, own, trust_domain))
        yield Rule(policy.origin, sources, entry.ports)


def _sources(callers: Iterable[Caller], own_namespace: str, trust_domain: str) -> Iterable[Source]:
    """Without callers whose identity nobody can have: the schema refuses them, and a policy that came past it must not
    keep those of others from being compiled."""
    for each in callers:
        with contextlib.suppress(BadInput, BadSpiffeId):
            yield _source(each, own_namespace, trust_domain)


def _grant(grant: AccessGrant, trust_domain: str) -> Rule:
    callers = [Caller(each, grant.callers.namespace) for each in grant.callers.service_accounts]
    return Rule(grant.origin, tuple(_sources(callers, "", trust_domain)), grant.ports, grant.until)


def _source(caller: Caller, own_namespace: str, trust_domain: str) -> Source:
    namespace = caller.namespace or own_namespace
    if caller.principal:
        principal: Principal | None = Principal.parse(caller.principal)
    elif caller.service_account:
        principal = Principal(str(SpiffeId.of_service_account(trust_domain, namespace, caller.service_account)))
    elif caller.namespace:
        principal = Principal.parse(f"{SCHEME}{trust_domain}/ns/{caller.namespace}/sa/{ANY_BELOW}")
    else:
        principal = None
    return Source(principal, caller.spki_sha256)
