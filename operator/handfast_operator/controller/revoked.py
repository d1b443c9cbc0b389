"""Who is revoked now: what the TrustDomain says, less what has ended by the time of day.

The one rule: a TrustDomain that is away revokes whom it revoked: what is forgotten by deleting it would be let in.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from handfast_operator.cluster.store import Store
from handfast_operator.controller.timing import SystemTime, Time, Timer
from handfast_operator.resources.revocation import in_force, next_end
from handfast_operator.resources.trust_domain import TrustDomain
from handfast_sidecar.identity.revocation import Revocations

log = logging.getLogger(__name__)

MOST: Final = timedelta(seconds=30)
"""The longest wait: an event loop's timers do not follow a clock that is set."""


class RevokedNow:
    """Follows the TrustDomain of a name."""

    def __init__(self, trust_domain: str, trust_domains: Store[TrustDomain], time: Time | None = None) -> None:
        self._name = trust_domain
        self._time = time or SystemTime()
        self._spec = TrustDomain(trust_domain, "", 0, 0)
        self._timer: Timer | None = None
        self._listeners: list[Callable[[], object]] = []
        self.current = Revocations()
        """The version that everybody should have."""
        trust_domains.subscribe(self._changed)

    def subscribe(self, listener: Callable[[], object]) -> None:
        """Hear when somebody else is revoked, or somebody no more."""
        self._listeners.append(listener)

    def _changed(self, _before: TrustDomain | None, after: TrustDomain | None) -> None:
        if after is not None and after.name == self._name:
            self._spec = after
            self._look()

    def _look(self) -> None:
        self._arm()
        entries = in_force(self._spec.revoked, self._time.now())
        if entries == self.current.entries:
            return
        self.current = Revocations(self._spec.resource_version, entries)
        log.info("what is revoked changed", extra={"entries": len(entries), "revision": self.current.revision})
        for listener in self._listeners:
            listener()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._time.now()
        end = next_end(self._spec.revoked, now)
        if end is not None:
            self._timer = self._time.call_at(min(end, now + MOST), self._look)
