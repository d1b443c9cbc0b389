"""Names in `allow` and `deny` that nobody has: what is misspelt there is neither let in nor kept out. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from handfast_operator.policy.access import allow_rules, deny_rules
from handfast_operator.resources.policies import Policy
from handfast_sidecar.identity.spiffe import SCHEME
from handfast_sidecar.policy.authorisation import Rule
from handfast_sidecar.policy.principals import Principal

UNKNOWN_NAMESPACE: Final = "UnknownNamespace"
UNKNOWN_ACCOUNT: Final = "UnknownServiceAccount"
OTHER_TRUST_DOMAIN: Final = "OtherTrustDomain"
NO_IDENTITY: Final = "NoSuchIdentity"


class Existing(Protocol):
    """Who exists; `census.Census` knows."""

    @property
    def trust_domain(self) -> str: ...
    def has_namespace(self, name: str) -> bool: ...
    def has_account(self, namespace: str, name: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Stranger:
    """One name, with the reason for which nobody has it."""

    reason: str
    place: str
    """Such as `allow[0].from[1]`."""
    name: str


def strangers(policy: Policy, existing: Existing) -> list[Stranger]:
    """Every name of a policy that nobody has."""
    allowed = allow_rules([policy], existing.trust_domain)
    lists = {
        "allow": allowed.rules.rules if allowed is not None else (),
        "deny": deny_rules([policy], existing.trust_domain).rules,
    }
    return [
        Stranger(found[0], place, found[1])
        for name, rules in lists.items()
        for place, principal in _named(name, rules)
        if (found := _unknown(principal, existing)) is not None
    ]


def _named(name: str, rules: Iterable[Rule]) -> Iterator[tuple[str, Principal]]:
    for number, rule in enumerate(rules):
        for index, source in enumerate(rule.sources or ()):
            if source.principal is not None:
                yield f"{name}[{number}].from[{index}]", source.principal


def _unknown(principal: Principal, existing: Existing) -> tuple[str, str] | None:
    """The reason and the name that nobody has; None: somebody may match."""
    domain, _, path = principal.text.removeprefix(SCHEME).partition("/")
    if domain != existing.trust_domain:
        return (OTHER_TRUST_DOMAIN, domain)
    # Ours are ns/NAMESPACE/sa/ACCOUNT; a pattern ends with a slash after any part of it.
    kind, namespace, word, account, *more = [*path.split("/"), "", "", ""]
    fits = kind in ("ns", "") and word in ("sa", "") and not any(more)
    if not fits or (not principal.below and not account):
        return (NO_IDENTITY, str(principal))
    if namespace and not existing.has_namespace(namespace):
        return (UNKNOWN_NAMESPACE, namespace)
    if account and (principal.below or not existing.has_account(namespace, account)):
        return (NO_IDENTITY, str(principal)) if principal.below else (UNKNOWN_ACCOUNT, f"{namespace}/{account}")
    return None
