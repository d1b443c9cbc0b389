"""Outbound connections that go nowhere: reset, told in the pod's own log with the reason, and counted as refused."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.traffic.client_relay import ClientRelay
from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.routing import Refuse
from handfast_sidecar.traffic.sockets import abort

log = logging.getLogger("handfast_sidecar.traffic.outbound")
"""The name under which the log has always told of refusals."""


class Refusals:
    """Refuses; `over` is called with each connection at its end."""

    def __init__(self, over: Callable[[Connection], None]) -> None:
        self._over = over

    @contextmanager
    def of(self, sock: socket.socket, connection: Connection, before: ClientRelay | None = None) -> Iterator[None]:
        """Whatever fails in the block refuses the connection, with its reason.

        `before`: what carried it until it was moved; what that has kept is not kept for longer.
        """
        try:
            yield
        except HandshakeFailed as failure:
            # Somebody said who answers there: an error is an error, never plaintext.
            self.refuse(sock, connection, Refuse(f"handshake_{failure.reason}", str(failure)))
        except OSError as error:
            self.refuse(
                sock, connection, Refuse("connect_failed", f"{connection.destination}: {error.strerror or error}")
            )
        except BaseException:
            self.refuse(sock, connection, Refuse("internal", "the proxy failed while it was connecting"))
            raise
        finally:
            if before is not None:
                before.forget()

    def refuse(self, sock: socket.socket, connection: Connection, refusal: Refuse) -> None:
        """Reset it, and say why."""
        log.warning(
            "outbound connection refused",
            extra={
                "destination": f"{connection.destination}:{connection.destination_port}",
                "reason": refusal.reason,
                "detail": refusal.sentence,
            }
            | ({"rule": refusal.rule} if refusal.rule else {}),
        )
        abort(sock)
        connection.refused, connection.reason = True, refusal.reason
        connection.rule = refusal.rule or connection.rule
        connection.detail = refusal.sentence
        self._over(connection)
