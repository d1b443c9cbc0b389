"""Peers without a sidecar: they speak mutual TLS themselves, one connection for each of the application's.

Inbound, on ports that the policy names: who begins with a ClientHello is secured here, must prove an identity of the
trust domain, and is judged as a tunnel's stream is; who begins with anything else is plaintext, and judged as that.
Outbound, in explicit mode: a declared upstream must prove to be the identity that was declared.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from handfast_sidecar.config.upstreams import is_address
from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.identity.proof import Proof
from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.loop import poller
from handfast_sidecar.loop.deadlines import Deadlines
from handfast_sidecar.loop.poller import READ
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.limiter import HandshakeLimit
from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.judge import Judge
from handfast_sidecar.traffic.plain import PlainRelay
from handfast_sidecar.traffic.sockets import abort
from handfast_sidecar.traffic.tls_relay import TlsRelay, name_peer
from handfast_sidecar.tunnel.handshake import HANDSHAKE_TIMEOUT_S, Expectation, Secured, secure
from handfast_sidecar.tunnel.reasons import Reason

if TYPE_CHECKING:
    from handfast_sidecar.traffic.inbound import Inbound

log = logging.getLogger(__name__)

CLIENT_HELLO: Final = b"\x16"
"""The type of a handshake record (RFC 8446 5.1), with which every TLS connection begins."""
FIRST_BYTE_S: Final = 5.0
"""Seconds to wait for a client's first byte. Where plaintext is allowed, so long waits a client whose server speaks
first."""
HANDSHAKES: Final = 256
"""In flight, as on the mesh port; more wait for their turn, and their time runs."""
MAX_FOREIGN: Final = 4096
"""Connections of foreign clients together, as many as there may be tunnels; an idle one costs about 40 KB."""


class ForeignPort:
    """Takes redirected connections to ports that are open to foreign clients, and hands each on to `Inbound`."""

    def __init__(self, inbound: "Inbound", identity: Callable[[], Identity], policy: PolicyInForce) -> None:
        self._inbound = inbound
        self._identity = identity
        self._limit = HandshakeLimit(policy)
        self._slots = asyncio.Semaphore(HANDSHAKES)
        self.waiting: set[FirstByte] = set()
        """Who has said nothing yet."""
        self._secured = 0
        self.first_bytes = Deadlines(FIRST_BYTE_S)

    def accepted(self, sock: socket.socket, connection: Connection) -> None:
        """A new connection, of which nothing is known yet."""
        self.waiting.add(FirstByte(self, sock, connection))

    def stop(self) -> None:
        """Give up what has not said a byte."""
        for each in list(self.waiting):
            each.give_up()

    def said(self, waited: "FirstByte", first: bytes) -> None:
        """What came first: the beginning of TLS, of something else, or nothing at all in time."""
        self.waiting.discard(waited)
        if first != CLIENT_HELLO:
            self._inbound.pass_plain(waited.sock, waited.connection)
            return
        over = self._limit.over()
        if over is not None:
            waited.connection.rule = over.rule
            if not over.allowed:
                self._inbound.refuse(waited.sock, waited.connection, over.reason, over.sentence)
                return
            self._inbound.judgement.settle(waited.connection, over)
        self._inbound.start(self._serve(waited.sock, waited.connection), waited.connection, securing=True)

    def lost(self, waited: "FirstByte", reason: str, sentence: str) -> None:
        """It is gone before it said anything."""
        self.waiting.discard(waited)
        self._inbound.refuse(waited.sock, waited.connection, reason, sentence)

    async def _serve(self, sock: socket.socket, connection: Connection) -> None:
        try:
            secured, own = await self._handshake(sock)
        except HandshakeFailed as failure:
            # No abort: an RST could overtake the alert that tells the client why.
            sock.close()
            self._inbound.refused(connection, f"handshake_{failure.reason}", str(failure))
            return
        except OSError as error:
            self._inbound.refuse(sock, connection, "handshake_closed", f"the client: {error.strerror or error}")
            return
        except BaseException:
            self._inbound.given_up(sock, connection, "the proxy stopped during the handshake")
            raise
        self._secured += 1
        carried = False
        try:
            carried = await self._connect(secured, own, connection)
        finally:
            self._secured -= not carried

    async def _connect(self, secured: Secured, own: Proof, connection: Connection) -> bool:
        """Whether a peer that has proven who it is reached the application."""
        name_peer(connection, secured, own)
        verdict = self._inbound.judge_peer(connection)
        if not verdict.allowed:
            self._inbound.refuse(secured.sock, connection, verdict.reason, verdict.sentence)
            return False
        app = await self._inbound.application(secured.sock, connection)
        if app is None:
            return False
        relay = TlsRelay(app, secured, own, connection, self._over)
        self._inbound.carry(relay)
        # What is trusted may have changed while the application was dialled.
        relay.hold_against(self._inbound.standing)
        return True

    async def _handshake(self, sock: socket.socket) -> tuple[Secured, Proof]:
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S), self._slots:
                if self._secured >= MAX_FOREIGN:
                    raise HandshakeFailed("too_many_foreign", f"{MAX_FOREIGN} foreign clients are connected already")
                identity = self._identity()
                expected = Expectation(identity.leaf.spiffe_id.trust_domain, alpn="")
                context = identity.contexts.foreign_server[self._inbound.judgement.oldest_tls]
                secured = await secure(sock, context, expected, server=True)
                self._inbound.standing.check(secured.proof, identity.material.proof)
                return secured, identity.material.proof
        except TimeoutError:
            raise HandshakeFailed(
                "timeout", f"the handshake had not its turn within {HANDSHAKE_TIMEOUT_S:.0f} s: too many are in flight"
            ) from None

    def _over(self, relay: PlainRelay) -> None:
        self._secured -= 1
        self._inbound.plain_over(relay)


class FirstByte:
    """A connection that has not said anything yet: one descriptor in the poller, and a place among the deadlines."""

    __slots__ = ("_poller", "_port", "connection", "sock")

    def __init__(self, port: ForeignPort, sock: socket.socket, connection: Connection) -> None:
        self._port = port
        self._poller = poller.current()
        self.sock, self.connection = sock, connection
        self._poller.watch(sock.fileno(), READ, self._ready)
        port.first_bytes.add(self._late)

    def give_up(self) -> None:
        """The proxy stops."""
        self._done()
        self._port.lost(self, Reason.SHUTTING_DOWN.word, "the proxy stopped before the client said anything")

    def look_again(self, judge: Judge) -> None:
        """The policy changed: what comes is judged when it comes, but perhaps as something else."""
        if self not in self._port.waiting:
            return
        verdict = judge.verdict(self.connection, securing=True)
        if verdict.allowed and not verdict.audited:
            self.connection.rule = verdict.rule
        else:
            # As a new connection to a port that is not open to foreign clients, which nobody looks at.
            self._late()

    def _ready(self, _events: int) -> None:
        try:
            first = self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError as error:
            self._done()
            self._port.lost(self, "aborted", f"the client: {error.strerror or error}")
            return
        self._done()
        self._port.said(self, first)

    def _late(self) -> None:
        self._done()
        self._port.said(self, b"")

    def _done(self) -> None:
        self._poller.forget(self.sock.fileno())
        self._port.first_bytes.discard(self._late)


async def to_upstream(
    app: socket.socket,
    upstream: socket.socket,
    connection: Connection,
    identity: Identity,
    expected: SpiffeId,
    *,
    host: str,
    standing: Standing,
    finished: Callable[[PlainRelay], None],
) -> TlsRelay:
    """Tie an application's connection to an upstream outside the mesh, which must prove to be `expected`.

    app       as accepted, non-blocking
    upstream  connected and non-blocking
    host      as it was declared: a DNS name is told to the server, an address is not (RFC 6066, section 3)

    The relay is to be started. Raises HandshakeFailed and OSError: then the upstream is closed, `app` is the caller's.
    """
    try:
        secured = await secure(
            upstream,
            identity.contexts.foreign_client,
            Expectation(identity.leaf.spiffe_id.trust_domain, expected, alpn=""),
            server=False,
            server_name="" if is_address(host) else host,
        )
        own = identity.material.proof
        standing.check(secured.proof, own)
        name_peer(connection, secured, own)
        return TlsRelay(app, secured, own, connection, finished)
    except BaseException:
        abort(upstream)
        raise
