"""An outbound connection on its stream: the server's first byte says whether its application is connected.

The one rule: a request never arrives twice. What the application has sent is kept until the server has answered, and
goes to another endpoint only where the answer says that no application was connected to (CONNECTED_TO_NOBODY). A stream
that ends without an answer is lost, since its server may have connected, and the answer alone may be missing.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Final

from handfast_sidecar.directory.messages import Endpoint
from handfast_sidecar.traffic import backlog
from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.reach import MAX_TRIES
from handfast_sidecar.traffic.relay import Relay
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.preface import Preface
from handfast_sidecar.tunnel.reasons import Reason
from handfast_sidecar.tunnel.stream import Stream

KEPT_BYTES: Final = 128 * 1024
"""Bytes of a connection that are kept until the answer; one that sends more in that time is not moved. Less than a new
stream's window, which whatever is sent again has to fit into."""
CONNECTED_TO_NOBODY: Final = frozenset({Reason.SHUTTING_DOWN, Reason.CONNECTION_REFUSED})
"""Answers of a pod that ends: its sidecar knows it, or its application has closed its port already. Whoever dials that
pod without a mesh is refused; whoever dials its Service cannot know."""


class ClientRelay(Relay):
    """An outbound connection on its stream: the server's first byte says whether it is connected."""

    __slots__ = ("_answered", "_move", "kept", "sock", "tried")

    def __init__(
        self,
        sock: socket.socket,
        stream: Stream,
        connection: Connection,
        finished: Callable[[Relay], None],
        move: "Move | None" = None,
        tried: Sequence[Endpoint] = (),
    ) -> None:
        """`move`: takes the connection elsewhere, or says that it cannot; None: there is no elsewhere.

        `tried`: whom it was for until now, this one last.
        """
        super().__init__(sock, stream, connection, finished)
        self.sock = sock
        self._answered = False
        self.kept: bytearray | None = None
        """What the application has sent; None: it is not kept."""
        self.tried = tried
        self._move = move
        if move is not None and len(tried) < MAX_TRIES:
            self.kept, self._receive = bytearray(), self._receive_and_keep

    def say_again(self, before: "ClientRelay") -> None:
        """Say on this stream what was said on the one before. That the application ended, its socket says again."""
        kept = before.kept
        before.forget()
        if kept:
            self.stream.send(bytes(kept))
            self._keep(kept)

    def data(self, view: memoryview) -> None:
        if self._answered:
            super().data(view)
            return
        code = view[0]
        if (
            code in CONNECTED_TO_NOBODY
            and self.kept is not None
            and self._move is not None
            and self._move(self, Reason(code))
        ):
            return
        self._answered = True
        self.forget()
        self.stream.credit(1, keeps_up=True)
        if code != Reason.CONNECTED:
            self.connection.refused = True
            self.stop(_reason_word(code))
        elif len(view) > 1:
            super().data(view[1:])

    def end(self) -> None:
        if self._answered:
            super().end()
        elif not self._over:
            self.connection.refused = True
            self.stop("no_answer")

    def aborted(self) -> None:
        tunnel = self.connection.tunnel
        if tunnel is not None and tunnel.closed:
            self.connection.reason = self.connection.broken("tunnel_closed")
        super().aborted()

    def let_go(self) -> None:
        """Give up the stream, and leave the socket, and what is kept, to another relay."""
        self._over = True
        self._reading = False
        self._poller.forget(self._fd)
        self.stream.reset()

    def forget(self) -> None:
        """Keep nothing any more."""
        if self.kept is not None:
            backlog.POD.give(len(self.kept), 0)
            self.kept, self._receive = None, self.sock.recv_into

    def _receive_and_keep(self, view: memoryview) -> int:
        count = self.sock.recv_into(view)
        if self.kept is not None:
            self._keep(view[:count])
        return count

    def _keep(self, view: memoryview | bytearray) -> None:
        kept = self.kept
        if kept is None:
            return
        if len(kept) + len(view) > KEPT_BYTES or not backlog.POD.take(len(view), len(kept)):
            self.forget()
        else:
            kept += view

    def _close(self, reason: str, *, with_rst: bool) -> None:
        self.forget()
        super()._close(reason, with_rst=with_rst)


Move = Callable[[ClientRelay, Reason], bool]


def open_relay(
    sock: socket.socket,
    connection: Connection,
    tunnel: Tunnel,
    endpoint: Endpoint,
    finished: Callable[[Relay], None],
    move: "Move | None",
    before: ClientRelay | None,
) -> ClientRelay:
    """Open a stream for a connection, and say on it what was said on the one `before`, where there was one."""
    preface = Preface(connection.source, connection.source_port, endpoint.address, endpoint.port).pack()
    tried = (*(before.tried if before is not None else ()), endpoint)
    made: list[ClientRelay] = []

    def sink(stream: Stream) -> ClientRelay:
        made.append(ClientRelay(sock, stream, connection, finished, move, tried))
        return made[0]

    tunnel.mux.open(preface, sink)
    if before is not None:
        made[0].say_again(before)
    return made[0]


def _reason_word(code: int) -> str:
    try:
        return Reason(code).word
    except ValueError:
        return f"reason_{code}"
