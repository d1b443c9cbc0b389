"""Many streams over one byte stream: yamux (hashicorp/yamux, spec.md), without I/O.

The shell gives decrypted bytes to `receive` and takes frames from `arena`; each stream hands its bytes to a sink.
Memory is bounded by the windows: a sink credits only what it has handed on, so a slow reader holds back his own
stream alone.
"""

from collections.abc import Callable
from typing import Final

from handfast_sidecar.errors import BadFrame
from handfast_sidecar.tunnel.arena import MAX_OVERFLOW, Arena
from handfast_sidecar.tunnel.frames import (
    HEADER,
    HEADER_BYTES,
    INITIAL_WINDOW,
    MAX_WINDOW,
    VERSION,
    Flag,
    FrameType,
    GoAway,
    check_header,
)
from handfast_sidecar.tunnel.stream import Stream, StreamSink

GROWTH_BUDGET: Final = 16 << 20
"""Bytes by which all windows of a tunnel may grow together: the bound on what slow readers can make it hold."""
MAX_STREAMS: Final = 20_000
"""Streams a peer may have open on one tunnel."""

_DATA: Final = int(FrameType.DATA)
_UPDATE: Final = int(FrameType.WINDOW_UPDATE)
_PING: Final = int(FrameType.PING)
_SYN, _ACK, _FIN, _RST = (int(flag) for flag in (Flag.SYN, Flag.ACK, Flag.FIN, Flag.RST))


FLOODED: Final = f"more than {MAX_OVERFLOW} bytes of answers wait for a peer that does not read"


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
