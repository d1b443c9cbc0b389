"""What changes while a sidecar runs: its identity, its policy, and who is revoked. Taken over, and told to the parts.

The one rule: whatever is newer counts, whoever brings it: config.json of the pod's Secret or the directory.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from handfast_sidecar.directory.messages import PolicyUpdate
from handfast_sidecar.identity.reload import Identity, IdentityKeeper
from handfast_sidecar.identity.revocation import Revocations
from handfast_sidecar.identity.standing import REVOKED, Standing
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.policy.in_force import PolicyInForce

log = logging.getLogger("handfast_sidecar.proxy")
"""The name under which the log has always told of changes."""

Told = tuple[Callable[[], None], ...]


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a change concerns, in the order in which they are told."""

    trust: Told
    """Who was let in is to be held against what is trusted now."""
    identity: Told
    """We have another leaf, or another configuration."""
    outbound: Told
    """The policy changed for what goes out."""
    inbound: Told
    """What comes in is to be judged by what holds now."""


class Changes:
    """Takes over what is new."""

    def __init__(self, standing: Standing, policy: PolicyInForce, trust_domain: str) -> None:
        self._standing, self._policy, self._trust_domain = standing, policy, trust_domain
        self._audience = Audience((), (), (), ())

    def tell(self, audience: Audience, identity: IdentityKeeper) -> None:
        """From here on, also of what becomes of the identity."""
        self._audience = audience
        identity.subscribe(self._identity_changed)

    def policy(self, update: PolicyUpdate) -> None:
        """The directory's word on the policy."""
        self._offer(update.revision, update.policy, "directory", update.over)

    def revoked(self, revoked: Revocations) -> None:
        """The directory's word on who is revoked."""
        self._offer_revoked(revoked, "directory")

    def _identity_changed(self, identity: Identity) -> None:
        config = identity.material.config
        self._offer_revoked(config.revoked, "config.json")
        _all(self._audience.trust)
        _all(self._audience.identity)
        if config.trust_domain != self._trust_domain:
            # Who belongs to it is judged by it.
            self._trust_domain = config.trust_domain
            _all(self._audience.inbound)
        self._offer(config.revision, config.policy, "config.json")

    def _offer_revoked(self, revoked: Revocations, source: str) -> None:
        if not self._standing.offer(revoked):
            return
        log.info(
            "what is revoked changed",
            extra={"entries": len(revoked.entries), "revision": revoked.revision, "source": source},
        )
        own = self._standing.own_revocation()
        if own is not None:
            log.error("this pod is revoked: its peers refuse it", extra={"reason": REVOKED, "detail": str(own)})
        _all(self._audience.trust)

    def _offer(self, revision: int, policy: EffectivePolicy, source: str, over: int = 0) -> None:
        if self._policy.offer(policy, revision, over):
            _all(self._audience.outbound)
            rule = self._policy.policy.default
            log.info(
                "policy changed",
                extra={"mode": rule.mode.value, "rule": rule.origin, "revision": revision, "source": source},
            )
            _all(self._audience.inbound)


def _all(told: Told) -> None:
    for each in told:
        each()
