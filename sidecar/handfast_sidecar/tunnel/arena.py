"""The outgoing bytes of a tunnel: frames are built in place, leave together, and never move while they wait.

Applications are read straight into it, behind 12 free bytes for the frame's header: no joins, no copies. Frames that
must not wait for room (credit, FIN, RST) go to `overflow` when it is full, and data waits until that has drained.
"""

from typing import Final

from handfast_sidecar.errors import BadFrame

ARENA_BYTES: Final = 256 * 1024
"""Bytes kept per tunnel. Larger ones gain bulk a few percent and cost small requests beside it their latency."""
MIN_ROOM: Final = 4096
"""Bytes below which data waits for the next flush, so that bulk is not cut into crumbs."""
MAX_OVERFLOW: Final = 1 << 20
"""Bytes of control frames that may wait; a peer that asks for more answers than it reads loses its tunnel."""


class Arena:
    """A fixed buffer, filled at one end by frames and emptied at the other by TLS."""

    __slots__ = ("buffer", "filled", "overflow", "sent", "view")

    def __init__(self, size: int = ARENA_BYTES) -> None:
        self.buffer = bytearray(size)
        self.view = memoryview(self.buffer)
        self.filled = 0
        self.sent = 0
        self.overflow = bytearray()

    @property
    def empty(self) -> bool:
        return self.sent == self.filled and not self.overflow

    def room(self) -> int:
        """Bytes that data may take, header included; 0 while control frames wait before it."""
        return 0 if self.overflow else len(self.buffer) - self.filled

    def append(self, data: bytes) -> None:
        """Take bytes that must not wait; raises BadFrame when the peer lets too many pile up."""
        end = self.filled + len(data)
        if not self.overflow and end <= len(self.buffer):
            self.buffer[self.filled : end] = data
            self.filled = end
            return
        if len(self.overflow) + len(data) > MAX_OVERFLOW:
            raise BadFrame(f"more than {MAX_OVERFLOW} bytes of answers wait for a peer that does not read")
        self.overflow += data

    def consumed(self, count: int) -> None:
        """TLS took this many bytes; when all are gone, what overflowed moves in."""
        self.sent += count
        if self.sent < self.filled:
            return
        self.sent = self.filled = 0
        if self.overflow:
            moved = min(len(self.overflow), len(self.buffer))
            self.buffer[:moved] = self.overflow[:moved]
            del self.overflow[:moved]
            self.filled = moved
