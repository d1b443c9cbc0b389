"""One connection on a tunnel: its windows, its two ends, and the way of its bytes into the arena. Without I/O."""

from typing import TYPE_CHECKING, Final, Protocol

from handfast_sidecar.tunnel.arena import MIN_ROOM
from handfast_sidecar.tunnel.frames import (
    HEADER,
    HEADER_BYTES,
    INITIAL_WINDOW,
    MAX_DATA_BYTES,
    VERSION,
    Flag,
    FrameType,
)

if TYPE_CHECKING:
    from handfast_sidecar.tunnel.mux import Mux

BULK_WINDOW: Final = 4 << 20
"""Bytes a stream's window grows to while its reader keeps up: what a fast long path needs in flight."""

_DATA: Final = int(FrameType.DATA)
_UPDATE: Final = int(FrameType.WINDOW_UPDATE)
_pack_into: Final = HEADER.pack_into


class StreamSink(Protocol):
    """Where a stream's events go."""

    def data(self, view: memoryview) -> None:
        """Bytes; the view is valid during this call only. Credit them when they are handed on."""

    def end(self) -> None:
        """The peer will send no more; it may still read."""

    def aborted(self) -> None:
        """The stream is gone, by the peer's RST or with its tunnel."""

    def resume(self) -> None:
        """There may be room to send again."""


class Stream:
    """One connection on a tunnel."""

    __slots__ = (
        "_mux",
        "_received",
        "ended",
        "finished",
        "id",
        "recv_window",
        "send_window",
        "sink",
        "waiting",
        "window",
    )

    def __init__(self, mux: "Mux", stream_id: int) -> None:
        self._mux = mux
        self.id = stream_id
        self.sink: StreamSink
        self.send_window = INITIAL_WINDOW
        self.window = INITIAL_WINDOW
        """Size of the window that we grant."""
        self.recv_window = INITIAL_WINDOW
        """What is left of it."""
        self._received = 0
        self.finished = False
        """We sent FIN."""
        self.ended = False
        """The peer sent FIN."""
        self.waiting = False

    def reserve(self) -> memoryview | None:
        """Where to put the next bytes, or None: wait for the sink's `resume`. Call `commit` before anything else."""
        arena = self._mux.arena
        start = arena.filled + HEADER_BYTES
        limit = arena.limit - start
        if limit < MIN_ROOM:
            if not self._make_room():
                return None
            start = arena.filled + HEADER_BYTES
            limit = arena.limit - start
        if limit > self.send_window:
            limit = self.send_window
            if limit <= 0:
                return None
        if limit > MAX_DATA_BYTES:  # noqa: PLR1730 - a call more for every frame
            limit = MAX_DATA_BYTES
        return arena.view[start : start + limit]

    def commit(self, count: int) -> None:
        """Send the first `count` bytes of what `reserve` gave."""
        mux = self._mux
        arena = mux.arena
        _pack_into(arena.buffer, arena.filled, VERSION, _DATA, 0, self.id, count)
        arena.filled += HEADER_BYTES + count
        self.send_window -= count
        if not mux.woken:
            mux.woken = True
            mux.wake()

    def _make_room(self) -> bool:
        """Flush the arena; when that is not enough, stand in the queue of those who wait."""
        mux = self._mux
        mux.flush()
        if mux.arena.limit - mux.arena.filled - HEADER_BYTES >= MIN_ROOM:
            return True
        if not self.waiting:
            self.waiting = True
            mux.starved.append(self)
        return False

    def send(self, data: bytes, flags: int = 0) -> None:
        """Send a few bytes that must not wait: a preface, a reason."""
        self.send_window -= len(data)
        self._mux.control(_DATA, flags, self.id, len(data), data)

    def credit(self, count: int, keeps_up: bool) -> None:
        """`count` received bytes are handed on; a reader that keeps up gets a larger window."""
        received = self._received + count
        if received < self.window >> 1 or self.ended:
            self._received = received
            return
        delta, self._received = received, 0
        if keeps_up and self.window < BULK_WINDOW:
            grown = min(self.window, BULK_WINDOW - self.window, self._mux.growth_left)
            self._mux.growth_left -= grown
            self.window += grown
            delta += grown
        self.recv_window += delta
        self._mux.control(_UPDATE, 0, self.id, delta)

    def finish(self) -> None:
        """Half-close: we send no more."""
        if not self.finished:
            self.finished = True
            self._mux.control(_DATA, Flag.FIN, self.id, 0)
            if self.ended:
                self._mux.forget(self)

    def reset(self) -> None:
        """Abort the stream at once, in both directions."""
        if self._mux.forget(self):
            self._mux.control(_UPDATE, Flag.RST, self.id, 0)
