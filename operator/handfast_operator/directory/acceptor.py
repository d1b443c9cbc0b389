"""Connections in, sessions and the controller's feeds out: the only part of the directory that meets strangers.

The one rule: a place is taken before a connection is accepted, each source has a share of the places, and each
handshake a deadline, so that a flood costs its sender and nobody else.
"""

import asyncio
import logging
import socket
import ssl
from asyncio import sslproto
from collections import Counter
from typing import Final

from handfast_operator import metrics
from handfast_operator.directory.connection import Connection
from handfast_operator.directory.feed import EvidenceFeeds
from handfast_operator.directory.gate import Gate
from handfast_operator.directory.serving import ServingCertificate
from handfast_operator.directory.session import SessionEnded
from handfast_operator.directory.switchboard import Switchboard
from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.contexts import check_directory_peer, stream_failure
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.wellknown import ALPN_DIRECTORY, ALPN_EVIDENCE

HANDSHAKE_S: Final = 10.0
MAX_HANDSHAKES: Final = 512
PER_SOURCE: Final = 16
"""Handshakes in flight from one address: a node whose network hides its pods still gets its sidecars in."""
READ_BYTES: Final = 4096
"""At once, of one connection: more than nearly all that sidecars say. asyncio keeps a buffer of this size for each
connection as long as it lives, of 256 KiB unless told otherwise: ten thousand idle streams would take 2.5 GiB."""

log = logging.getLogger(__name__)


class Acceptor:
    """Accepts on a listening socket, with the certificate that is current at that moment."""

    def __init__(
        self,
        trust_domain: str,
        certificate: ServingCertificate,
        gate: Gate,
        switchboard: Switchboard,
        registry: Registry,
        feeds: EvidenceFeeds,
        controller: SpiffeId,
        *,
        clock: Clock = utc_now,
    ) -> None:
        """`controller` alone is given a feed of the evidence."""
        self._feeds, self._controller = feeds, controller
        self._trust_domain = trust_domain
        self._certificate = certificate
        self._gate = gate
        self._switchboard = switchboard
        self._clock = clock
        self._places = asyncio.Semaphore(MAX_HANDSHAKES)
        self._sources: Counter[str] = Counter()
        self._refused = metrics.REFUSED.of(registry)
        for reason in (
            "no_certificate",
            "untrusted",
            "wrong_alpn",
            "unknown_pod",
            "wrong_identity",
            "not_the_controller",
        ):
            self._refused.labels(reason)

    async def run(self, listener: socket.socket) -> None:
        """Accept until cancelled."""
        sslproto.SSLProtocol.max_size = READ_BYTES
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as handshakes:
            while True:
                await self._places.acquire()
                try:
                    accepted, address = await loop.sock_accept(listener)
                except OSError as error:
                    # Out of descriptors, or gone before it was accepted: neither may end the loop.
                    self._places.release()
                    log.warning("cannot accept a connection", extra={"error": str(error)})
                    await asyncio.sleep(0.1)
                    continue
                except BaseException:
                    self._places.release()
                    raise
                handshakes.create_task(self._one(accepted, str(address[0])))

    async def _one(self, accepted: socket.socket, source: str) -> None:
        self._sources[source] += 1
        try:
            if self._sources[source] > PER_SOURCE:
                accepted.close()
                raise SessionEnded("too_many_handshakes", f"more than {PER_SOURCE} handshakes at a time")
            await self._session(accepted)
        except (SessionEnded, HandshakeFailed) as error:
            self._refused.labels(error.reason).inc()
            log.warning("refused", extra={"source": source, "reason": error.reason, "detail": str(error)})
        except Exception:
            # The supervisor of one handshake: whatever fails in it must not end the others.
            self._refused.labels("internal").inc()
            log.exception("a connection failed in a way of its own", extra={"source": source})
        finally:
            self._places.release()
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]

    async def _session(self, accepted: socket.socket) -> None:
        connection = await self._handshake(accepted)
        secured = connection.transport.get_extra_info("ssl_object")
        evidence = secured.selected_alpn_protocol() == ALPN_EVIDENCE
        try:
            protocol = ALPN_EVIDENCE if evidence else ALPN_DIRECTORY
            proof = check_directory_peer(secured, self._trust_domain, protocol)
            leaf = proof.leaf
            if evidence and leaf.spiffe_id != self._controller:
                raise HandshakeFailed(
                    "not_the_controller", f"{leaf.spiffe_id} asked for the evidence, which only {self._controller} may"
                )
        except HandshakeFailed as error:
            connection.end(SessionEnded(error.reason, str(error)), polite=False)
            raise
        except BaseException:
            connection.transport.abort()
            raise
        seconds_left = (leaf.not_after - self._clock()).total_seconds()
        if evidence:
            self._feeds.begin(connection.transport, seconds_left)
            return
        try:
            if self._switchboard.outdone():
                raise SessionEnded("stale", "the API server was silent: another replica may know more")
            peer = await self._gate.admit(proof)
        except SessionEnded as error:
            connection.end(error)
            raise
        except BaseException:
            connection.transport.abort()
            raise
        if connection.reason is not None:
            raise connection.reason
        objection = self._switchboard.objection(peer)
        if objection is not None:
            connection.end(objection)
            raise objection
        connection.ended = self._switchboard.ended
        self._switchboard.begin(connection, peer, seconds_left)

    async def _handshake(self, accepted: socket.socket) -> Connection:
        context = self._certificate.context
        if context is None:
            accepted.close()
            raise HandshakeFailed("no_serving_certificate", "there is no certificate to serve with yet")
        connection = Connection()  # not taken from the call: uvloop returns its own TLS layer there
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=2,
            )
        except OSError as error:
            raise handshake_failed(error) from error
        return connection


def handshake_failed(error: OSError) -> HandshakeFailed:
    """What went wrong, as a stable word and a sentence."""
    match error:
        case ssl.SSLError():
            return stream_failure(error)
        case TimeoutError() | ConnectionAbortedError():
            return HandshakeFailed("timeout", f"the TLS handshake took longer than {HANDSHAKE_S:.0f} s")
        case _:
            return HandshakeFailed("closed", f"the client closed the connection in the handshake: {error}")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; the empty host is every address of both families."""
    if host:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    elif socket.has_dualstack_ipv6():
        listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    else:
        listener = socket.create_server(("", port), backlog=1024)
    listener.setblocking(False)
    return listener
