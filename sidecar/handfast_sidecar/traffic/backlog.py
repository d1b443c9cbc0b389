"""Bytes that wait for applications which read slower than their peers send, bounded for the pod as a whole.

A stream's window bounds what one connection can make us hold; thousands of them would still be too much. Past the
bound each connection may hold its equal share, and one that would hold more is ended: the ones that read are never
touched, and neither is a slow one among few.
"""

from typing import Final

MAX_HELD_BYTES: Final = 64 << 20
"""Bytes for all connections of the pod together; the chart's memory limit leaves room for it."""


class Backlog:
    """How much is held, and by how many."""

    def __init__(self, limit: int = MAX_HELD_BYTES) -> None:
        self._limit = limit
        self.held = 0
        self._holders = 0

    def take(self, count: int, own: int) -> bool:
        """Whether a connection that holds `own` bytes may hold `count` more; they are then counted."""
        holders = self._holders + (own == 0)
        if self.held + count > self._limit and own + count > self._limit // holders:
            return False
        self.held += count
        self._holders = holders
        return True

    def give(self, count: int, left: int) -> None:
        """A connection has handed on `count` bytes and holds `left` now."""
        self.held -= count
        if count and not left:
            self._holders -= 1


POD: Final = Backlog()
"""Of this process: one sidecar is one pod."""
