"""The bytes of a tunnel, between its socket and its mux.

What all streams collect during one turn of the poller leaves together at its end. The one rule: what fails here is
told in a turn of its own, never from within a stream's call.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from handfast_sidecar.errors import BadFrame
from handfast_sidecar.loop import poller
from handfast_sidecar.loop.poller import READ, WRITE
from handfast_sidecar.tunnel.frames import GoAway
from handfast_sidecar.tunnel.handshake import Secured
from handfast_sidecar.tunnel.mux import FLOODED, Mux
from handfast_sidecar.tunnel.pages import Pages
from handfast_sidecar.tunnel.stream import Stream, StreamSink
from handfast_sidecar.tunnel.tls import NO_DATA

READ_BYTES: Final = 512 * 1024
"""Bytes of plaintext read in one turn of the loop before others get theirs."""
_PLAIN: Final = Pages(READ_BYTES)
"""Shared by all tunnels: what is read is handed on within the same call."""


class Carrier:
    """Moves bytes between the socket and the arena, until it is closed.

    accept  takes the streams that the peer opens, as the mux has it
    broken  called when the peer breaks the protocol, with a reason and a sentence
    lost    called once when the connection is, with why
    """

    __slots__ = (
        "_blocked",
        "_blocked_at",
        "_blocked_s",
        "_broken",
        "_closed",
        "_failure",
        "_fd",
        "_loop",
        "_lost",
        "_poller",
        "_sock",
        "_tls",
        "heard",
        "mux",
    )

    def __init__(
        self,
        secured: Secured,
        accept: Callable[[Stream], StreamSink | None],
        *,
        broken: Callable[[str, str], None],
        lost: Callable[[str], None],
    ) -> None:
        self.heard = False
        """Whether the peer said anything; the owner clears it."""
        self._broken, self._lost = broken, lost
        self._loop = asyncio.get_running_loop()
        self._sock, self._tls = secured.sock, secured.tls
        self._fd = secured.sock.fileno()
        self._poller = poller.current()
        self._closed = False
        self._failure = ""
        self._blocked = False
        self._blocked_at = self._blocked_s = 0.0
        self.mux = Mux(client=not secured.server, accept=accept, wake=self._wake, flush=self._write_out)
        self._poller.watch(self._fd, READ, self._ready)
        # Records that came with the last bytes of the handshake are in OpenSSL's buffer: the socket would stay silent.
        self._loop.call_soon(self._readable)

    def waited(self, now: float) -> float:
        """Seconds for which it has waited for its socket since it was last asked."""
        if self._blocked:
            self._blocked_s += now - self._blocked_at
            self._blocked_at = now
        waited, self._blocked_s = self._blocked_s, 0.0
        return waited

    def give_back(self) -> None:
        """Nothing passes: memory that is not needed now."""
        self.mux.arena.give_back()
        _PLAIN.give_back()

    def close(self) -> None:
        """Send what can be sent at once, and close the socket."""
        self._closed = True
        if not self._failure and not self._blocked:
            self._write_out()
        self._poller.forget(self._fd)
        if not self._failure:
            self._tls.close_notify()
        self._sock.close()

    def _wake(self) -> None:
        self._poller.at_end(self._flush)

    def _flush(self) -> None:
        self.mux.woken = False
        if self.mux.flooded:
            self._broken("protocol_error", FLOODED)
        if not (self._blocked or self._closed):
            self._write_out()
            if not self._blocked:
                self.mux.drained()

    def _write_out(self) -> None:
        if self._blocked or self._failure:
            return
        arena = self.mux.arena
        try:
            while arena.filled:
                arena.consumed(self._tls.write_from(arena.view[arena.sent : arena.filled]))
                if arena.sent < arena.filled:
                    self._blocked, self._blocked_at = True, self._loop.time()
                    if not self._closed:
                        self._poller.watch(self._fd, READ | WRITE, self._ready)
                    return
        except OSError as error:
            self._fail(str(error))

    def _ready(self, events: int) -> None:
        if self._blocked and events != READ:
            self._blocked = False
            self._blocked_s += self._loop.time() - self._blocked_at
            self._poller.watch(self._fd, READ, self._ready)
            self._flush()
        if events != WRITE:
            self._readable()

    def _readable(self) -> None:
        if self._closed:
            return
        self.heard = True
        try:
            count = self._tls.read_into(_PLAIN.view)
            if count == NO_DATA:
                return
            if not count:
                self._fail("the peer closed it")
                return
            _PLAIN.touched(count)
            self.mux.receive(_PLAIN.view[:count])
        except OSError as error:
            self._fail(str(error))
        except BadFrame as error:
            self.mux.go_away(GoAway.PROTOCOL_ERROR)
            self._broken(error.reason, str(error))
        if self._tls.has_more:
            # Others get their turn first.
            self._loop.call_soon(self._readable)

    def _fail(self, failure: str) -> None:
        if not self._failure:
            self._failure = failure or "no reason given"
            self._loop.call_soon(self._lost, self._failure)
