"""Many streams over one byte stream: yamux (hashicorp/yamux, spec.md), without I/O.

The shell gives decrypted bytes to `receive` and takes frames from `arena`; each stream hands its bytes to a sink.
Memory is bounded by the windows: a sink credits only what it has handed on, so a slow reader holds back his own
stream alone.
"""

from collections.abc import Callable
from typing import Final, Protocol

from handfast_sidecar.errors import BadFrame
from handfast_sidecar.tunnel.arena import MAX_OVERFLOW, MIN_ROOM, Arena
from handfast_sidecar.tunnel.frames import (
    HEADER,
    HEADER_BYTES,
    INITIAL_WINDOW,
    MAX_DATA_BYTES,
    MAX_WINDOW,
    VERSION,
    Flag,
    FrameType,
    GoAway,
    check_header,
)

BULK_WINDOW: Final = 4 << 20
"""Bytes a stream's window grows to while its reader keeps up: what a fast long path needs in flight."""
GROWTH_BUDGET: Final = 16 << 20
"""Bytes by which all windows of a tunnel may grow together: the bound on what slow readers can make it hold."""
MAX_STREAMS: Final = 20_000
"""Streams a peer may have open on one tunnel."""

_pack_into: Final = HEADER.pack_into
_DATA: Final = int(FrameType.DATA)
_UPDATE: Final = int(FrameType.WINDOW_UPDATE)
_PING: Final = int(FrameType.PING)
_SYN, _ACK, _FIN, _RST = (int(flag) for flag in (Flag.SYN, Flag.ACK, Flag.FIN, Flag.RST))


FLOODED: Final = f"more than {MAX_OVERFLOW} bytes of answers wait for a peer that does not read"


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


class Mux:
    """One side of a tunnel.

    accept  called with each stream the peer opens; returns its sink, or None to refuse it with an RST
    wake    called once when there is something to send, until the shell clears `woken`
    flush   called when the arena is full: send now what can be sent
    """

    def __init__(
        self,
        *,
        client: bool,
        accept: Callable[[Stream], StreamSink | None],
        wake: Callable[[], None],
        flush: Callable[[], None],
    ) -> None:
        self.arena = Arena()
        self.streams: dict[int, Stream] = {}
        self.starved: list[Stream] = []
        self.growth_left = GROWTH_BUDGET
        self.peer_going_away = False
        self.pongs = 0
        self.wake = wake
        self.woken = False
        """Whether `wake` was called since the shell last flushed; the shell clears it."""
        self.flush = flush
        self.flooded = False
        """More answers wait than a peer who reads could have asked for: the tunnel is to be ended."""
        self._accept = accept
        self._client = client
        self._next_id = 1 if client else 2
        self._carry = b""
        self._remaining = 0
        self._current: Stream | None = None
        self._ends = False
        """Whether the payload under way is its stream's last."""

    def open(self, first: bytes, sink_of: Callable[[Stream], StreamSink]) -> Stream:
        """Open a stream with its first bytes; the sink is made from the stream."""
        stream = Stream(self, self._next_id)
        self._next_id += 2
        self.streams[stream.id] = stream
        stream.sink = sink_of(stream)
        stream.send(first, Flag.SYN)
        return stream

    @property
    def exhausted(self) -> bool:
        """Whether stream IDs have run out: 2^31 streams, then a new tunnel."""
        return self._next_id > 0xFFFF_FFF0

    def control(self, kind: int, flags: int, stream_id: int, length: int, payload: bytes = b"") -> None:
        """Queue a frame that must not wait for room."""
        if not self.arena.append(HEADER.pack(VERSION, kind, flags, stream_id, length) + payload):
            self.flooded = True
        if not self.woken:
            self.woken = True
            self.wake()

    def ping(self, value: int) -> None:
        """Ask for a sign of life; `pongs` counts the answers."""
        self.control(_PING, _SYN, 0, value)

    def go_away(self, code: GoAway) -> None:
        """Announce that we accept no further streams, or why the tunnel ends."""
        self.control(FrameType.GO_AWAY, 0, 0, code)

    def forget(self, stream: Stream) -> bool:
        """Take a stream out of the table; False when it was not in it."""
        if self.streams.get(stream.id) is not stream:
            return False
        del self.streams[stream.id]
        if self._current is stream:
            self._current = None
        self.growth_left += stream.window - INITIAL_WINDOW
        return True

    def abort_all(self) -> None:
        """The tunnel is gone, and its streams with it."""
        streams, self.streams = list(self.streams.values()), {}
        self.starved.clear()
        self._current = None
        for stream in streams:
            stream.sink.aborted()

    def drained(self) -> None:
        """The arena has room again: those who waited for it take their turns."""
        if self.starved:
            waiting, self.starved = self.starved, []
            for stream in waiting:
                stream.waiting = False
                if self.streams.get(stream.id) is stream:
                    stream.sink.resume()

    def receive(self, data: memoryview) -> None:
        """Take decrypted bytes as they come; raises BadFrame when the peer breaks the protocol."""
        self._receive(data)
        if self.flooded:
            raise BadFrame(FLOODED)

    def _receive(self, data: memoryview) -> None:
        position, end = 0, len(data)
        if self._carry:
            position = min(HEADER_BYTES - len(self._carry), end)
            self._carry += data[:position]
            if len(self._carry) < HEADER_BYTES:
                return
            header, self._carry = self._carry, b""
            self._frame(*HEADER.unpack(header))
        unpack = HEADER.unpack_from
        while position < end:
            remaining = self._remaining
            if remaining:
                take = min(remaining, end - position)
                self._remaining = remaining - take
                if self._current is not None:
                    self._current.sink.data(data[position : position + take])
                position += take
                if not self._remaining:
                    self._payload_complete()
            elif end - position < HEADER_BYTES:
                self._carry = bytes(data[position:])
                return
            else:
                version, kind, flags, stream_id, length = unpack(data, position)
                position += HEADER_BYTES
                if not (version or kind or flags) and 0 < length <= end - position:
                    # Plain data, all of it here: what nearly every frame is.
                    stream = self.streams.get(stream_id)
                    if stream is not None and length <= stream.recv_window and not stream.ended:
                        stream.recv_window -= length
                        stop = position + length
                        stream.sink.data(data[position:stop])
                        position = stop
                        continue
                self._frame(version, kind, flags, stream_id, length)

    def _frame(self, version: int, kind: int, flags: int, stream_id: int, length: int) -> None:
        if kind > 3 or version or flags > 15:
            check_header(version, kind, flags)
        if kind <= _UPDATE:
            stream = self.streams.get(stream_id)
            if flags & _SYN:
                stream = self._opened_by_peer(stream_id)
            if kind == _DATA:
                self._data(stream, flags, length)
            elif stream is not None:
                self._update(stream, flags, length)
        elif kind == _PING:
            if flags & _SYN:
                self.control(_PING, _ACK, 0, length)
            else:
                self.pongs += 1
        else:
            self.peer_going_away = True
            if length != GoAway.NORMAL:
                raise BadFrame(f"the peer ended the tunnel with yamux error {length}")

    def _opened_by_peer(self, stream_id: int) -> Stream | None:
        if stream_id % 2 == self._client or not stream_id or stream_id in self.streams:
            raise BadFrame(f"the peer opened a stream with the ID {stream_id}, which is ours or in use")
        stream = Stream(self, stream_id)
        if len(self.streams) < MAX_STREAMS:
            self.streams[stream_id] = stream
            sink = self._accept(stream)
            if sink is not None:
                stream.sink = sink
                return stream
            del self.streams[stream_id]
        self.control(_UPDATE, _RST, stream_id, 0)
        return None

    def _data(self, stream: Stream | None, flags: int, length: int) -> None:
        if stream is None:
            # Of a stream that we closed while this was on its way: read past it.
            self._remaining, self._current = length, None
            return
        if length > stream.recv_window or stream.ended:
            raise BadFrame(f"stream {stream.id}: the peer sent more than its window, or after its FIN")
        stream.recv_window -= length
        self._remaining, self._current = length, stream
        if flags & _RST:
            self._aborted(stream)
        elif flags & _FIN:
            self._ends = True
            if not length:
                self._payload_complete()

    def _payload_complete(self) -> None:
        stream, self._current = self._current, None
        ends, self._ends = self._ends, False
        if ends and stream is not None:
            self._ended(stream)

    def _ended(self, stream: Stream) -> None:
        stream.ended = True
        if stream.finished:
            self.forget(stream)
        stream.sink.end()

    def _update(self, stream: Stream, flags: int, delta: int) -> None:
        if flags & _RST:
            self._aborted(stream)
            return
        starving = stream.send_window <= 0
        stream.send_window += delta
        if stream.send_window > MAX_WINDOW:
            raise BadFrame(f"stream {stream.id}: the peer's window exceeds {MAX_WINDOW} bytes")
        if starving and stream.send_window > 0:
            stream.sink.resume()
        if flags & _FIN and not stream.ended and self.streams.get(stream.id) is stream:
            self._ended(stream)

    def _aborted(self, stream: Stream) -> None:
        if self.forget(stream):
            stream.sink.aborted()
