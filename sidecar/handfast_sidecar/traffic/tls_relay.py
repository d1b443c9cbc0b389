"""An application on one side, a TLS connection of its peer's own on the other: what no tunnel carries.

As between two sockets: each direction has one buffer and stops reading while it is not empty. A half-close is
close_notify and FIN; an end without close_notify is an abort, because anybody on the way could have made it
(RFC 8446 6.1).
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.proof import Proof
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.loop.poller import ERROR, READ, WRITE
from handfast_sidecar.traffic.connection import Connection, Protection
from handfast_sidecar.traffic.plain import SHARED, PlainRelay, Side
from handfast_sidecar.tunnel.footing import Footing
from handfast_sidecar.tunnel.handshake import Secured
from handfast_sidecar.tunnel.tls import NO_DATA, TlsConnection

log = logging.getLogger(__name__)


def name_peer(connection: Connection, secured: Secured, own: Proof) -> None:
    """What a finished handshake tells of a connection; `own` is what the peer was shown of us."""
    connection.peer = secured.peer.spiffe_id
    connection.protection = Protection(
        secured.tls.version,
        secured.tls.cipher,
        secured.tls.group,
        secured.peer.spki_sha256,
        (own.leaf.issuer, secured.peer.issuer),
    )


class TlsRelay(PlainRelay):
    """Carries a connection until its ends end it, or the peer's certificate does."""

    __slots__ = ("_expiry", "_footing")

    def __init__(
        self,
        app: socket.socket,
        secured: Secured,
        own: Proof,
        connection: Connection,
        finished: Callable[[PlainRelay], None],
        *,
        clock: Clock = utc_now,
    ) -> None:
        self.connection = connection
        self._footing = Footing(own, secured.proof)
        peer, ours = TlsSide(self, secured.sock, secured.tls), Side(self, app)
        dialler, target = (peer, ours) if secured.server else (ours, peer)
        self._tie(dialler, target, finished)
        left = (secured.peer.not_after - clock()).total_seconds()
        self._expiry = asyncio.get_running_loop().call_later(max(0.0, left), self.stop, "expired")

    def hold_against(self, standing: Standing) -> None:
        """As any relay; here the peer has proven who it is."""
        objection = standing.objection(self._footing.peer, self._footing.own)
        if objection is not None:
            self.connection.detail = objection.sentence
            self.stop(objection.reason)

    def close(self, reason: str, *, with_rst: bool) -> None:
        """As any relay."""
        self._expiry.cancel()
        super().close(reason, with_rst=with_rst)


class TlsSide(Side):
    """The socket under TLS."""

    __slots__ = ("_loop", "_tls")

    def __init__(self, relay: TlsRelay, sock: socket.socket, tls: TlsConnection) -> None:
        super().__init__(relay, sock)
        self._loop = asyncio.get_running_loop()
        self._tls = tls
        self._send = tls.write_from

    def read_on(self) -> None:
        """Look at once: OpenSSL may hold records of which the socket is silent."""
        super().read_on()
        self._loop.call_soon(self._readable)

    def detach(self) -> None:
        """Read no more, not even what is scheduled."""
        self._reading = False
        super().detach()

    def _ready(self, events: int) -> None:
        if self._pending is not None and events != READ:
            self._writable()
        elif not self._reading:
            # As in `Side`: a hang-up alone is no abort.
            if events & ERROR:
                self._relay.close("aborted", with_rst=True)
            else:
                self._poller.forget(self.fd)
        if events != WRITE:
            self._readable()

    def _readable(self) -> None:
        if not self._reading:
            return
        try:
            count = self._tls.read_into(SHARED)
        except OSError as error:
            log.info(
                "the peer's TLS ended without its word",
                extra={"peer": str(self._relay.connection.peer), "detail": str(error)},
            )
            self._relay.close("aborted", with_rst=True)
            return
        if count == NO_DATA:
            return
        if not count:
            self.pause()
            self.other.fin()
            return
        self._relay.carried(self, count)
        self.other.write(SHARED[:count])
        if self._tls.has_more:
            self._loop.call_soon(self._readable)  # others get their turn first

    def _half_close(self) -> bool:
        if not self._tls.close_notify():
            # The socket is full: nothing waits but the notice, which is tried again when the socket is writable.
            self._pending = memoryview(b"")
            self._watch()
            return False
        return super()._half_close()
