"""A session on a TLS connection: bytes to lines, lines to bytes, and nothing that grows.

A protocol and not a pair of streams, because there are thousands of them and none needs a task. The one rule: while a
sidecar does not read, nothing of it is read either, pushes wait as one line per address, and after a while it is ended.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from handfast_operator.directory.session import Session, SessionEnded
from handfast_sidecar.directory.codec import encode
from handfast_sidecar.directory.messages import MAX_SIDECAR_LINE, SILENCE_S, Alive, Goodbye

HELLO_S: Final = 10.0
SLOW_S: Final = 30.0
"""Seconds a sidecar may take to read what waits for it."""
HIGH_WATER: Final = 256 << 10
"""Bytes on their way to a sidecar, above which it is waited for. One answer more may come on top."""
_ALIVE: Final = encode(Alive())
Ended = Callable[["Connection", SessionEnded], None]


class Connection(asyncio.Protocol):
    """Reads nothing before `begin`, and calls `ended` once, with the reason, when it is over."""

    def __init__(self) -> None:
        self.ended: Ended | None = None
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._buffer = bytearray()
        self._scanned = 0
        self._held: dict[str, bytes] = {}
        self._paused_at: float | None = None
        self._heard_at = 0.0
        self._timers: list[asyncio.TimerHandle] = []
        self.reason: SessionEnded | None = None

    # --- the server's side

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None  # noqa: S101 - asked for after the handshake only
        return self._transport

    @property
    def session(self) -> Session:
        assert self._session is not None  # noqa: S101 - set by `begin`, before anybody knows the connection
        return self._session

    def begin(self, session: Session, seconds_left: float) -> None:
        """Start the conversation; it ends at the latest with the leaf, after `seconds_left`."""
        self._session = session
        self._heard_at = self._loop.time()
        self._timers = [
            self._loop.call_later(HELLO_S, self._no_hello),
            self._loop.call_later(seconds_left, self._expired),
        ]
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._read_lines()

    def push(self, key: str, line: bytes) -> None:
        """Tell a change of what `key` names; a newer one replaces one that still waits. Not before the welcome."""
        if not self.session.greeted or not line:
            return
        if self._full():
            self._held[key] = line
        else:
            self.transport.write(line)

    def tick(self) -> None:
        """A sign of life, or the end of a sidecar that gives none."""
        now = self._loop.time()
        if self._paused_at is not None and now - self._paused_at > SLOW_S:
            self.end(SessionEnded("slow_reader", f"nothing was read for {SLOW_S:.0f} s"), polite=False)
        elif now - self._heard_at > SILENCE_S:
            self.end(SessionEnded("silent", f"nothing was heard for {SILENCE_S} s"))
        elif self.session.greeted and not self._full():
            self.transport.write(_ALIVE)

    def end(self, reason: SessionEnded, *, polite: bool = True) -> None:
        """Close, with a goodbye where the sidecar reads."""
        if self.reason is not None:
            return
        self.reason = reason
        for timer in self._timers:
            timer.cancel()
        self._held.clear()
        self._buffer.clear()
        transport = self.transport
        if polite and not transport.is_closing() and not self._full():
            transport.write(encode(Goodbye(reason.reason, reason.told)))
            transport.close()
        else:
            transport.abort()
        if self._session is not None:
            self._session.end()
        if self.ended is not None:
            self.ended(self, reason)

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self.reason is not None:
            return
        self._buffer += data
        self._heard_at = self._loop.time()
        if self._session is not None:
            self._read_lines()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        text = "the sidecar closed the connection" if exc is None else f"the connection broke: {exc}"
        self.end(SessionEnded("closed", text), polite=False)

    def pause_writing(self) -> None:
        if self._paused_at is None and self.reason is None:
            self._paused_at = self._loop.time()
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused_at = None
        if self.reason is not None:
            return
        while self._held and not self._full():
            key = next(iter(self._held))
            self.transport.write(self._held.pop(key))
        if self._session is not None and not self._full():
            self.transport.resume_reading()
            self._read_lines()

    # --- inside

    def _full(self) -> bool:
        return self._paused_at is not None or self.transport.get_write_buffer_size() > HIGH_WATER

    def _read_lines(self) -> None:
        """Answer every complete line, as long as the answers can leave."""
        try:
            while self.reason is None and not self._full():
                end = self._buffer.find(b"\n", self._scanned)
                if end < 0:
                    self._scanned = len(self._buffer)
                    break
                line = bytes(self._buffer[: end + 1])
                del self._buffer[: end + 1]
                self._scanned = 0
                self._answer(line)
            if self.reason is None and self._scanned > MAX_SIDECAR_LINE:
                raise SessionEnded("line_too_long", f"a line of more than {MAX_SIDECAR_LINE} bytes")
        except SessionEnded as error:
            self.end(error)

    def _answer(self, line: bytes) -> None:
        if len(line) > MAX_SIDECAR_LINE:
            raise SessionEnded("line_too_long", f"a line of {len(line)} bytes, at most {MAX_SIDECAR_LINE} are read")
        lines = self.session.receive(line)
        if lines:
            self.transport.write(b"".join(lines))

    def _no_hello(self) -> None:
        if not self.session.greeted:
            self.end(SessionEnded("no_hello", f"no hello within {HELLO_S:.0f} s of the handshake"))

    def _expired(self) -> None:
        self.end(SessionEnded("expired", "the leaf of this session expired: the sidecar returns with its newer one"))
