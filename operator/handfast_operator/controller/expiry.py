"""Grants end by themselves: a policy index is told at the time of day when the next one does.

The one rule: the time of day decides, not a wait. A timer rings early rather than late and looks again, so that a clock
that was set, or a machine that slept, prolongs nothing by more than `MOST`.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from handfast_operator.cluster.store import Store
from handfast_operator.controller.timing import SystemTime, Time, Timer
from handfast_operator.resources.access import AccessGrant

log = logging.getLogger(__name__)

MOST: Final = timedelta(seconds=30)
"""The longest wait: an event loop's timers do not follow a clock that is set."""


class Index(Protocol):
    """What is needed of `policy.index.PolicyIndex`."""

    @property
    def next_expiry(self) -> int | None: ...
    def expire(self, now: float) -> None: ...


class Expiry:
    """Keeps a policy index free of grants that have ended."""

    def __init__(self, index: Index, grants: Store[AccessGrant], time: Time | None = None) -> None:
        """Of an index that follows the same store, and was made before."""
        self._index = index
        self._time = time or SystemTime()
        self._timer: Timer | None = None
        self._listeners: list[Callable[[], object]] = []
        grants.subscribe(lambda _before, _after: self._arm())

    def subscribe(self, listener: Callable[[], object]) -> None:
        """Hear when grants have ended."""
        self._listeners.append(listener)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        end = self._index.next_expiry
        if end is not None:
            latest = self._time.now() + MOST
            when = min(latest, datetime.fromtimestamp(min(end, int(latest.timestamp()) + 1), UTC))
            self._timer = self._time.call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        end, now = self._index.next_expiry, self._time.now().timestamp()
        if end is not None and end <= now:
            self._index.expire(now)
            log.info("access grants have ended", extra={"at": end})
            for listener in self._listeners:
                listener()
        self._arm()
