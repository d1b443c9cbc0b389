"""The outgoing bytes of a tunnel: frames are built in place, leave together, and never move while they wait.

Applications are read straight into it, behind 12 free bytes for the frame's header: no joins, no copies. Frames that
must not wait for room (credit, FIN, RST) go to `overflow` when it is full, and data waits until that has drained.

"""

from typing import Final

from handfast_sidecar.tunnel.pages import Pages

ARENA_BYTES: Final = 512 * 1024
"""Bytes per tunnel, of which those that were never filled take no memory. Larger ones gain bulk a few percent and cost
small requests beside it their latency (docs/performance.md)."""
KEPT_BYTES: Final = 16 * 1024
"""Bytes of an idle tunnel's arena that stay in memory: what small requests fill."""
MIN_ROOM: Final = 4096
"""Bytes below which data waits for the next flush, so that bulk is not cut into crumbs."""
MAX_OVERFLOW: Final = 1 << 20
"""Bytes of control frames that may wait; a peer that asks for more answers than it reads loses its tunnel."""


class Arena(Pages):
    """A fixed buffer, filled at one end by frames and emptied at the other by TLS."""

    __slots__ = ("filled", "limit", "overflow", "sent")

    def __init__(self, size: int = ARENA_BYTES) -> None:
        super().__init__(size, kept=KEPT_BYTES)
        self.filled = 0
        self.sent = 0
        self.limit = size
        """How far data may fill it; 0 while control frames wait before it."""
        self.overflow = bytearray()

    @property
    def empty(self) -> bool:
        return self.sent == self.filled and not self.overflow

    def append(self, data: bytes) -> bool:
        """Take bytes that must not wait; False when the peer has let too many pile up, and these are lost."""
        end = self.filled + len(data)
        if not self.overflow and end <= len(self.view):
            self.view[self.filled : end] = data
            self.filled = end
            return True
        if len(self.overflow) + len(data) > MAX_OVERFLOW:
            return False
        self.overflow += data
        self.limit = 0
        return True

    def consumed(self, count: int) -> None:
        """TLS took this many bytes; when all are gone, what overflowed moves in."""
        self.sent += count
        if self.sent < self.filled:
            return
        self.touched(self.filled)
        self.sent = self.filled = 0
        if self.overflow:
            moved = min(len(self.overflow), len(self.view))
            self.view[:moved] = self.overflow[:moved]
            del self.overflow[:moved]
            self.filled = moved
            self.limit = 0 if self.overflow else len(self.view)

    def give_back(self) -> None:
        """As `Pages.give_back`, when nothing waits."""
        if self.empty:
            super().give_back()
