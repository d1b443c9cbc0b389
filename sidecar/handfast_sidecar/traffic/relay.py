"""An application's socket on one side, a stream on the other.

FIN and RST keep their meaning: the application's half-close becomes the stream's, an abort stays an abort. A slow
application holds back its own stream by its window, and nothing else.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable

from handfast_sidecar.traffic.connection import OK, Connection
from handfast_sidecar.traffic.sockets import abort
from handfast_sidecar.tunnel.mux import Stream


class Relay:
    """A connected application on one end of a stream; a `StreamSink`."""

    __slots__ = ("_ended", "_fd", "_finished", "_loop", "_over", "_queue", "_reading", "_sock", "connection", "stream")

    def __init__(
        self, sock: socket.socket, stream: Stream, connection: Connection, finished: Callable[["Relay"], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._fd = sock.fileno()
        self._queue: deque[memoryview] = deque()
        self._reading = False
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
            self._loop.add_reader(self._fd, self._readable)

    def data(self, view: memoryview) -> None:
        """Bytes for the application: at once as many as its socket takes, the rest when it reads on."""
        if self._over:
            return
        if self._queue:
            self._queue.append(memoryview(bytes(view)))
            return
        try:
            sent = self._sock.send(view)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._app_aborted()
            return
        if sent:
            self.connection.bytes_in += sent
            self.stream.credit(sent, keeps_up=sent == len(view))
        if sent < len(view):
            self._queue.append(memoryview(bytes(view[sent:])))
            self._loop.add_writer(self._fd, self._writable)

    def end(self) -> None:
        """The peer's application sent FIN: so do we, after what is still queued."""
        self._ended = True
        if not self._queue and not self._over:
            self._pass_fin()

    def aborted(self) -> None:
        """The peer's application aborted, or the tunnel is gone."""
        self._close("peer_aborted", with_rst=True)

    def stop(self, reason: str) -> None:
        """End the connection in both directions, now."""
        self.stream.reset()
        self._close(reason, with_rst=True)

    def _readable(self) -> None:
        view = self.stream.reserve()
        if view is None:
            self._pause()
            return
        try:
            count = self._sock.recv_into(view)
        except BlockingIOError:
            return
        except OSError:
            self._app_aborted()
            return
        if count:
            self.stream.commit(count)
            self.connection.bytes_out += count
        else:
            self._pause()
            self.stream.finish()
            self._maybe_over()

    def _writable(self) -> None:
        queue, credited = self._queue, 0
        try:
            while queue:
                sent = self._sock.send(queue[0])
                credited += sent
                if sent < len(queue[0]):
                    queue[0] = queue[0][sent:]
                    break
                queue.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._app_aborted()
            return
        self.connection.bytes_in += credited
        self.stream.credit(credited, keeps_up=False)
        if not queue:
            self._loop.remove_writer(self._fd)
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
        self.stream.reset()
        self._close("app_aborted", with_rst=True)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def _close(self, reason: str, *, with_rst: bool) -> None:
        if self._over:
            return
        self._over = True
        self._pause()
        self._loop.remove_writer(self._fd)
        self._queue.clear()
        if with_rst:
            abort(self._sock)
        else:
            self._sock.close()
        if self.connection.reason == OK:
            self.connection.reason = reason
        self._finished(self)
