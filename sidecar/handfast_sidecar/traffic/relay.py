"""An application's socket on one side, a stream on the other.

FIN and RST keep their meaning: the application's half-close becomes the stream's, an abort stays an abort. A slow
application holds back its own stream by its window, and nothing else.
"""

import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from handfast_sidecar.loop import poller
from handfast_sidecar.loop.poller import ERROR, READ, WRITE
from handfast_sidecar.traffic import backlog
from handfast_sidecar.traffic.connection import OK, Connection
from handfast_sidecar.traffic.sockets import abort
from handfast_sidecar.tunnel.stream import Stream

CHUNK_BYTES: Final = 64 * 1024
"""Bytes kept together while they wait: a peer may send them one at a time, and each object costs more than a byte."""

READS: Final = 2
"""Times that one application is read in a turn, while it gives much: each is a frame of up to 256 KiB."""
MUCH_BYTES: Final = 64 * 1024
"""What less than this is, was all there was."""


class Relay:
    """A connected application on one end of a stream; a `StreamSink`."""

    __slots__ = (
        "_ended",
        "_fd",
        "_finished",
        "_held",
        "_offset",
        "_over",
        "_poller",
        "_queue",
        "_reading",
        "_receive",
        "_send",
        "_sock",
        "connection",
        "stream",
    )

    def __init__(
        self, sock: socket.socket, stream: Stream, connection: Connection, finished: Callable[["Relay"], None]
    ) -> None:
        self._poller = poller.current()
        self._sock = sock
        self._fd = sock.fileno()
        self._receive: Callable[[memoryview], int] = sock.recv_into
        self._send = sock.send
        self._queue: deque[bytearray] = deque()
        self._offset = 0
        """Bytes of the first in the queue that are sent."""
        self._reading = False
        self._held = 0
        """Bytes in the queue."""
        self._ended = False
        self._over = False
        self._finished = finished
        self.stream = stream
        self.connection = connection

    def start(self) -> None:
        """Begin to read the application."""
        self.resume()

    def resume(self) -> None:
        """There may be room on the tunnel: read the application again."""
        if not (self._reading or self._over or self.stream.finished):
            self._reading = True
            self._watch()

    def greet(self, header: bytes) -> None:
        """Send bytes of our own to the application, before any of the peer's."""
        try:
            sent = self._send(header)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._app_aborted()
            return
        rest = memoryview(header)[sent:]
        if rest and self._hold(rest):
            # They are no bytes of the peer's, so he must not be credited with them when they are sent.
            self.stream.credit(-len(rest), keeps_up=False)
            self._watch()

    def data(self, view: memoryview) -> None:
        """Bytes for the application: at once as many as its socket takes, the rest when it reads on."""
        if self._over:
            return
        if self._queue:
            self._hold(view)
            return
        try:
            sent = self._send(view)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._app_aborted()
            return
        if sent:
            self.connection.bytes_in += sent
            self.stream.credit(sent, sent == len(view))
        if sent < len(view) and self._hold(view[sent:]):
            self._watch()

    def end(self) -> None:
        """The peer's application sent FIN: so do we, after what is still queued."""
        self._ended = True
        if not self._queue and not self._over:
            self._pass_fin()

    def aborted(self) -> None:
        """The peer's application aborted, or the tunnel is gone."""
        self._close(self.connection.broken("peer_aborted"), with_rst=True)

    def stop(self, reason: str) -> None:
        """End the connection in both directions, now."""
        self.stream.reset()
        self._close(reason, with_rst=True)

    def _hold(self, view: memoryview) -> bool:
        """Keep bytes until the application reads on; without room for them the connection ends."""
        if not backlog.POD.take(len(view), self._held):
            self.stop("out_of_memory")
            return False
        self._held += len(view)
        if self._queue and len(self._queue[-1]) + len(view) <= CHUNK_BYTES:
            self._queue[-1] += view
        else:
            self._queue.append(bytearray(view))
        return True

    def _let_go(self, count: int) -> None:
        self._held -= count
        backlog.POD.give(count, self._held)

    def _watch(self) -> None:
        self._poller.watch(self._fd, (READ if self._reading else 0) | (WRITE if self._queue else 0), self._ready)

    def _ready(self, events: int) -> None:
        if self._queue and events != READ:
            self._writable()
        elif not self._reading:
            # Neither was asked for. A hang-up alone is no abort: both ends have sent FIN, and bytes may still wait.
            if events & ERROR:
                self._app_aborted()
            else:
                self._poller.forget(self._fd)
        if not self._reading or events == WRITE:
            return
        for _ in range(READS):
            view = self.stream.reserve()
            if view is None:
                self._pause()
                return
            try:
                count = self._receive(view)
            except BlockingIOError:
                return
            except OSError:
                self._app_aborted()
                return
            if not count:
                self._app_ended()
                return
            self.stream.commit(count)
            self.connection.bytes_out += count
            if count < MUCH_BYTES:
                return

    def _app_ended(self) -> None:
        self.stream.finish()
        self._maybe_over()
        if not self._over:
            self._pause()

    def _writable(self) -> None:
        queue, credited = self._queue, 0
        try:
            while queue:
                sent = self._send(memoryview(queue[0])[self._offset :])
                credited += sent
                self._offset += sent
                if self._offset < len(queue[0]):
                    break
                queue.popleft()
                self._offset = 0
        except BlockingIOError:
            pass
        except OSError:
            self._app_aborted()
            return
        self._let_go(credited)
        self.connection.bytes_in += credited
        self.stream.credit(credited, False)
        if not queue:
            self._watch()
            if self._ended:
                self._pass_fin()

    def _pass_fin(self) -> None:
        if not self.stream.finished:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._app_aborted()
                return
        self._maybe_over()

    def _maybe_over(self) -> None:
        if self._ended and self.stream.finished and not self._queue:
            self._close(OK, with_rst=False)

    def _app_aborted(self) -> None:
        self._last_words()
        self.stream.reset()
        self._close("app_aborted", with_rst=True)

    def _last_words(self) -> None:
        """Pass on what the application said before it aborted: an answer to an upload that it did not read to the end.

        The kernel keeps it past the RST, and found it only when nothing was to be written.
        """
        while not self.stream.finished:
            view = self.stream.reserve()
            if view is None:
                return
            try:
                count = self._receive(view)
            except OSError:
                return
            if not count:
                return
            self.stream.commit(count)
            self.connection.bytes_out += count

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._watch()

    def _close(self, reason: str, *, with_rst: bool) -> None:
        if self._over:
            return
        self._over = True
        self._reading = False
        self._poller.closing(self._fd)
        self._queue.clear()
        self._let_go(self._held)
        if with_rst:
            abort(self._sock)
        else:
            self._sock.close()
        if self.connection.reason == OK:
            self.connection.reason = reason
        self._finished(self)
