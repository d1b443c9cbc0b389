"""An outbound connection on its stream: the server's first byte says whether its application is connected."""

import socket
from collections.abc import Callable

from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.relay import Relay
from handfast_sidecar.tunnel.reasons import Reason
from handfast_sidecar.tunnel.stream import Stream


class ClientRelay(Relay):
    """An outbound connection on its stream: the server's first byte says whether it is connected."""

    __slots__ = ("_answered",)

    def __init__(
        self, sock: socket.socket, stream: Stream, connection: Connection, finished: Callable[[Relay], None]
    ) -> None:
        super().__init__(sock, stream, connection, finished)
        self._answered = False

    def data(self, view: memoryview) -> None:
        if self._answered:
            super().data(view)
            return
        self._answered = True
        self.stream.credit(1, keeps_up=True)
        code = view[0]
        if code != Reason.CONNECTED:
            self.connection.refused = True
            self.stop(_reason_word(code))
        elif len(view) > 1:
            super().data(view[1:])

    def end(self) -> None:
        if self._answered:
            super().end()
        else:
            self.connection.refused = True
            self.stop("no_answer")

    def aborted(self) -> None:
        tunnel = self.connection.tunnel
        if tunnel is not None and tunnel.closed:
            self.connection.reason = "tunnel_closed"
        super().aborted()


def _reason_word(code: int) -> str:
    try:
        return Reason(code).word
    except ValueError:
        return f"reason_{code}"
