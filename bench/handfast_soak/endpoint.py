"""One end of a connection: it sends and checks the pattern, with a deadline on every step.

What a clean end is differs by a hair from what a broken one is: a FIN that comes early is a failure here, never an end.
"""

import asyncio
import errno
import socket
import struct
from typing import Final

from handfast_soak.pattern import MAX_PIECE, Pattern
from handfast_soak.plan import Pace, Plan, Side

STEP_S: Final = 30.0
"""Seconds, beside a silence that is meant, after which a connection that does not move is stuck."""
PIECE: Final = 64 * 1024
SLOW_BUFFER: Final = 64 * 1024
"""Bytes that a slow reader's kernel may hold, so that the rest waits in the sidecars and at the peer."""
_LINGER_ABORT: Final = struct.pack("ii", 1, 0)
_TCP_CLOSE: Final = 7
_GONE: Final = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN})


class OwnAbort(Exception):
    """The plan's moment for this side's RST has come."""


class PeerReset(Exception):
    """The other side's RST arrived."""


class Broken(Exception):
    """Something that no plan contains: an early FIN, a byte too many, a stuck connection, a foreign error."""


class Endpoint:
    """A connected socket and how far it is."""

    def __init__(self, sock: socket.socket, plan: Plan, side: Side) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self.plan, self.side = plan, side
        client = side is Side.CLIENT
        self._ours, self._theirs = Pattern(plan.number, downwards=not client), Pattern(plan.number, downwards=client)
        self._pace: Pace = plan.client_reads if client else plan.server_reads
        self._until_pause = self._pace.every
        self._finished = False
        if self._pace.every:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)

    @property
    def sent(self) -> int:
        """Bytes of the pattern handed to the kernel, or being handed."""
        return self._ours.offset

    @property
    def received(self) -> int:
        return self._theirs.offset

    async def send(self, count: int) -> None:
        """The next bytes of our pattern."""
        self._abort_if_planned()
        while count:
            piece = self._ours.take(min(count, PIECE))
            await self.send_raw(piece)
            count -= len(piece)
            self._abort_if_planned()

    async def send_raw(self, data: bytes) -> None:
        """Bytes outside of the pattern: the plan itself."""
        try:
            async with asyncio.timeout(STEP_S + self.plan.quiet_ms / 1000):
                await self._loop.sock_sendall(self._sock, data)
        except (OSError, TimeoutError) as error:
            raise self._meaning(error, "send") from error

    async def receive(self, count: int) -> None:
        """Exactly so many correct bytes."""
        while count:
            got = await self.receive_some(count)
            if not got:
                raise Broken(f"FIN after {self.received} bytes, {count} were still to come")
            count -= got

    async def receive_some(self, most: int = MAX_PIECE) -> int:
        """At least one byte and at most so many, checked; 0 is the peer's FIN."""
        self._abort_if_planned()
        limit = min(most, MAX_PIECE, self._until_pause or MAX_PIECE)
        data = await self.receive_raw(limit)
        self._theirs.check(data)
        self._abort_if_planned()
        if data and self._pace.every:
            self._until_pause -= len(data)
            if self._until_pause <= 0:
                self._until_pause = self._pace.every
                await asyncio.sleep(self._pace.pause_ms / 1000)
        return len(data)

    async def receive_raw(self, most: int) -> bytes:
        """What comes next, unchecked."""
        try:
            async with asyncio.timeout(STEP_S + self.plan.quiet_ms / 1000):
                data = await self._loop.sock_recv(self._sock, most)
        except (OSError, TimeoutError) as error:
            raise self._meaning(error, "receive") from error
        if not data and not self._finished and self._tcp_state() == _TCP_CLOSE:
            # Our own sending was told of the RST, and Linux tells of it once: afterwards it looks like a FIN.
            raise PeerReset
        return data

    async def expect_end(self) -> None:
        """The peer's FIN, and not a byte before it."""
        data = await self.receive_raw(64)
        if data:
            raise Broken(f"after {self.received} bytes, where the end was due, came {data.hex()}")

    def finish(self) -> None:
        """Send FIN."""
        self._finished = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._meaning(error, "finish") from error

    def abort(self) -> None:
        """Close with an RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ABORT)
        self._sock.close()

    def close(self) -> None:
        self._sock.close()

    def _abort_if_planned(self) -> None:
        if self.plan.aborts is self.side and self.sent + self.received >= self.plan.abort_at:
            raise OwnAbort

    def _tcp_state(self) -> int:
        return self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]

    def _meaning(self, error: OSError | TimeoutError, step: str) -> Exception:
        at = f"{step}, after {self.sent} bytes sent and {self.received} received"
        if error.errno in _GONE:
            return PeerReset(at)
        if isinstance(error, TimeoutError) and error.errno is None:
            return Broken(f"stuck: {at}")
        return Broken(f"{type(error).__name__}: {error}: {at}")
