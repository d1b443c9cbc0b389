"""Policies of many rules, and the peers that they mean: the same for verdicts, compilation and push. Pure."""

from collections.abc import Iterator
from typing import Any, Final

from handfast_bench.identities import TRUST_DOMAIN
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.authorisation import Rule, RuleSet, Source
from handfast_sidecar.policy.effective import AllowRules, EffectivePolicy, Mode, ModeRule
from handfast_sidecar.policy.principals import Principal
from handfast_sidecar.wellknown import API_GROUP, API_VERSION

ORIGIN: Final = "MTLSPolicy shop/orders"
PORT: Final = 8080
PER_POLICY: Final = 50
"""Rules of one object; its schema admits 64."""
_STRICT: Final = ModeRule(Mode.STRICT, ORIGIN)
Json = dict[str, Any]


def account(number: int) -> SpiffeId:
    """Of a service account that a rule may name; each number is another."""
    return SpiffeId(TRUST_DOMAIN, f"/ns/shop/sa/account-{number}")


def below(number: int) -> SpiffeId:
    """One of a namespace that a pattern means as a whole."""
    return SpiffeId(TRUST_DOMAIN, f"/ns/web/sa/account-{number}")


def stranger(number: int) -> SpiffeId:
    """Somebody whom no rule means."""
    return SpiffeId(TRUST_DOMAIN, f"/ns/sandbox/sa/account-{number}")


def names(count: int, *, pattern: bool = False) -> list[str]:
    """Whom the rules mean, one each; with `pattern` the last one means a whole namespace."""
    found = [str(account(each)) for each in range(count)]
    return [*found[:-1], f"spiffe://{TRUST_DOMAIN}/ns/web/sa/*"] if pattern else found


def allowing(count: int, *, pattern: bool = False) -> EffectivePolicy:
    """A policy of so many rules in `allow`, each for one port, as a sidecar has it."""
    rules = [
        Rule(ORIGIN, (Source(Principal.parse(name)),), frozenset({PORT})) for name in names(count, pattern=pattern)
    ]
    return EffectivePolicy(_STRICT, allow=AllowRules(RuleSet(rules), ORIGIN))


def open_to_all() -> EffectivePolicy:
    """A policy without rules: every identity of the trust domain may connect."""
    return EffectivePolicy(_STRICT)


def mtls_policy(namespace: str, name: str, deny: list[Json]) -> Json:
    """An object for the API server."""
    return {
        "apiVersion": f"{API_GROUP}/{API_VERSION}",
        "kind": "MTLSPolicy",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"mode": "Strict", "deny": deny},
    }


def denying(namespace: str, count: int) -> Iterator[Json]:
    """Objects that together hold so many rules: `deny` of all policies of a pod is added up."""
    for start in range(0, count, PER_POLICY):
        numbers = range(start, min(start + PER_POLICY, count))
        deny = [{"from": [{"serviceAccount": f"account-{each}"}], "ports": [PORT]} for each in numbers]
        yield mtls_policy(namespace, f"rules-{start // PER_POLICY}", deny)
