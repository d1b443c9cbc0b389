"""Two plaintext sockets, tied together: what passes unchanged, because policy or the directory says so.

Each direction has one buffer and stops reading while it is not empty, so memory is bounded by two buffers; all of them
together by the pod's backlog.
"""

import mmap
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.loop import poller
from handfast_sidecar.loop.poller import ERROR, READ, WRITE
from handfast_sidecar.traffic import backlog
from handfast_sidecar.traffic.connection import OK, Connection
from handfast_sidecar.traffic.sockets import abort

READ_BYTES: Final = 64 * 1024
SHARED: Final = memoryview(mmap.mmap(-1, READ_BYTES, flags=mmap.MAP_PRIVATE))
"""What is read is sent within the same call; only what was not taken is copied."""


class PlainRelay:
    """Carries bytes, FIN and RST between the side that dialled and the side it reached."""

    __slots__ = ("_dialler", "_finished", "_over", "connection")

    def __init__(
        self,
        dialler: socket.socket,
        target: socket.socket,
        connection: Connection,
        finished: Callable[["PlainRelay"], None],
    ) -> None:
        self.connection = connection
        self._tie(Side(self, dialler), Side(self, target), finished)

    def _tie(self, dialler: "Side", target: "Side", finished: Callable[["PlainRelay"], None]) -> None:
        self._finished = finished
        self._over = False
        self._dialler = dialler
        dialler.other, target.other = target, dialler

    def start(self) -> None:
        """Begin to carry."""
        for side in (self._dialler, self._dialler.other):
            side.read_on()

    def greet(self, header: bytes) -> None:
        """Send bytes of our own to the side that was reached; after `start`, before anything was carried."""
        self._dialler.other.write(memoryview(header))

    def stop(self, reason: str) -> None:
        """End it in both directions, now."""
        self.close(reason, with_rst=True)

    def carried(self, source: "Side", count: int) -> None:
        """Count bytes read from a side."""
        if (source is self._dialler) == (self.connection.direction == "out"):
            self.connection.bytes_out += count
        else:
            self.connection.bytes_in += count

    def side_over(self) -> None:
        """Both directions have ended when both sides have sent and been sent a FIN."""
        if self._dialler.fin_passed and self._dialler.other.fin_passed:
            self.close(OK, with_rst=False)

    def hold_against(self, _standing: Standing) -> None:
        """End it when there is something now against who is at its other end: of plaintext nobody knows."""

    def close(self, reason: str, *, with_rst: bool) -> None:
        """Close both sockets, once."""
        if self._over:
            return
        self._over = True
        for side in (self._dialler, self._dialler.other):
            side.detach()
            if with_rst:
                abort(side.sock)
            else:
                side.sock.close()
        if self.connection.reason == OK:
            self.connection.reason = reason
        self._finished(self)


def foreign_issuers(relays: Iterable[object]) -> Iterator[tuple[str, ...]]:
    """Whose signatures the connections of peers without a sidecar rest on."""
    for relay in relays:
        if isinstance(relay, PlainRelay) and relay.connection.protection is not None:
            yield relay.connection.protection.issuers


class Side:
    """One socket, and the bytes that wait for it."""

    __slots__ = (
        "_pending",
        "_poller",
        "_reading",
        "_relay",
        "_send",
        "fd",
        "fin_passed",
        "fin_wanted",
        "other",
        "sock",
    )

    def __init__(self, relay: PlainRelay, sock: socket.socket) -> None:
        self._relay = relay
        self._poller = poller.current()
        self.sock = sock
        self.fd = sock.fileno()
        self._send: Callable[[memoryview], int] = sock.send
        self._pending: memoryview | None = None
        self._reading = False
        self.fin_wanted = self.fin_passed = False
        self.other: Side

    def read_on(self) -> None:
        if not (self._reading or self.other.fin_wanted):
            self._reading = True
            self._watch()

    def pause(self) -> None:
        self._reading = False
        self._watch()

    def detach(self) -> None:
        if self._pending is not None:
            backlog.POD.give(len(self._pending), 0)
            self._pending = None
        self._poller.closing(self.fd)

    def _watch(self) -> None:
        waits = WRITE if self._pending is not None else 0
        self._poller.watch(self.fd, (READ if self._reading else 0) | waits, self._ready)

    def _ready(self, events: int) -> None:
        if self._pending is not None and events != READ:
            self._writable()
        elif not self._reading:
            # Neither was asked for. A hang-up alone is no abort: both ends have sent FIN, and bytes may still wait.
            if events & ERROR:
                self._aborted()
            else:
                self._poller.forget(self.fd)
        if not self._reading or events == WRITE:
            return
        try:
            count = self.sock.recv_into(SHARED)
        except BlockingIOError:
            return
        except OSError:
            self._aborted()
            return
        if count:
            self._relay.carried(self, count)
            self.other.write(SHARED[:count])
        else:
            self.pause()
            self.other.fin()

    def write(self, view: memoryview) -> None:
        """Send to this side; the other is read again when all is sent."""
        try:
            sent = self._send(view)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._aborted()
            return
        if sent < len(view):
            self._hold(view[sent:])

    def _hold(self, rest: memoryview) -> None:
        """Keep what the socket does not take, and read no more of the other side; without room for it, end."""
        if not backlog.POD.take(len(rest), 0):
            self._relay.close("out_of_memory", with_rst=True)
            return
        self._pending = memoryview(bytes(rest))
        self.other.pause()
        self._watch()

    def fin(self) -> None:
        """The other side ended: pass it on after what is pending."""
        self.fin_wanted = True
        if self._pending is None and not self.fin_passed:
            try:
                self.fin_passed = self._half_close()
            except OSError:
                self._aborted()
                return
            if self.fin_passed:
                self._relay.side_over()

    def _half_close(self) -> bool:
        """Whether the other end was told that no more comes. Raises OSError."""
        self.sock.shutdown(socket.SHUT_WR)
        return True

    def _aborted(self) -> None:
        """End both; before that, pass on what this side said before it aborted, as far as the other takes it."""
        try:
            while self._reading and (count := self.sock.recv_into(SHARED)):
                sent = self.other.sock.send(SHARED[:count])
                self._relay.carried(self, sent)
                if sent < count:
                    break
        except OSError:
            pass  # nothing more, or nobody to hear it
        self._relay.close("aborted", with_rst=True)

    def _writable(self) -> None:
        if self._pending is None:
            return
        try:
            sent = self._send(self._pending)
        except BlockingIOError:
            return
        except OSError:
            self._aborted()
            return
        rest = self._pending[sent:]
        backlog.POD.give(sent, len(rest))
        if rest:
            self._pending = rest
            return
        self._pending = None
        self._watch()
        if self.fin_wanted:
            self.fin()
        else:
            self.other.read_on()
