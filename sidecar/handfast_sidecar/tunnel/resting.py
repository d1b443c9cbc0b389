"""Whose signatures this sidecar needs: of its own leaf's issuer, and of those that its live tunnels rest on.

A rotation of the root waits until nobody names the old one any more, so a change is told soon. Tunnels come and go by
the hundred: they are looked through once for all that happened in LOOK_S, never for each.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

MAX_ISSUERS: Final = 16
"""Told in a report: a rotation has two, and a trust domain in trouble a handful."""
LOOK_S: Final = 0.5

Issuers = tuple[str, ...]


def needed(own: str, resting: Iterable[Iterable[str]]) -> Issuers:
    """Issuers without repetition, our own leaf's first, MAX_ISSUERS at most; who has no identifier is left out."""
    others = {issuer for issuers in resting for issuer in issuers} - {own, ""}
    return tuple(filter(None, (own, *sorted(others))))[:MAX_ISSUERS]


class Resting:
    """Watches `now`, the issuers needed, and calls `changed` when they are others."""

    def __init__(self, now: Callable[[], Issuers], changed: Callable[[], None]) -> None:
        self._now, self._changed = now, changed
        self._seen: Issuers = ()
        self._due: asyncio.TimerHandle | None = None

    def touched(self) -> None:
        """Something began or ended that may rest on a leaf."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._due = None
        now = self._now()
        if now != self._seen:
            self._seen = now
            self._changed()
