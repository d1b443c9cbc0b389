"""From a connected socket to a peer that is known: handshake, ALPN, and the X509-SVID checks of both sides.

OpenSSL checks the chain; that the leaf may speak as a workload is checked here, because OpenSSL accepts a CA
certificate as a leaf.
"""

import asyncio
import socket
from dataclasses import dataclass
from typing import Final

from OpenSSL import SSL

from handfast_sidecar.errors import BadCertificate, HandshakeFailed
from handfast_sidecar.identity.bundle import anchor
from handfast_sidecar.identity.contexts import verify_failure
from handfast_sidecar.identity.leaf import Leaf, read_peer
from handfast_sidecar.identity.proof import Proof
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.loop.readiness import readable, writable
from handfast_sidecar.tunnel.direct import ENGINE
from handfast_sidecar.tunnel.tls import TlsConnection, Want
from handfast_sidecar.wellknown import ALPN_TUNNEL

HANDSHAKE_TIMEOUT_S: Final = 10.0
"""Seconds from the accepted or dialled connection to a checked peer."""


@dataclass(frozen=True, slots=True)
class Secured:
    """A finished handshake."""

    sock: socket.socket
    tls: TlsConnection
    proof: Proof
    """The peer's."""
    server: bool

    @property
    def peer(self) -> Leaf:
        return self.proof.leaf


@dataclass(frozen=True, slots=True)
class Expectation:
    """Whom we are willing to talk to: an identity of the trust domain, or exactly this one."""

    trust_domain: str
    identity: SpiffeId | None = None
    alpn: str = ALPN_TUNNEL
    """What the peer must have agreed to speak; empty: no protocol was negotiated, it is the applications' own."""


async def secure(
    sock: socket.socket, context: SSL.Context, expected: Expectation, *, server: bool, server_name: str = ""
) -> Secured:
    """Run the handshake and check the peer. Raises HandshakeFailed, and leaves closing the socket to the caller.

    A client that says for whom it asks gives `server_name`, a DNS name (RFC 6066, section 3).
    """
    tls = ENGINE(context, sock, server=server)
    if server_name:
        tls.connection.set_tlsext_host_name(server_name.encode("idna"))
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            while (want := _step(tls)) is not None:
                await (readable(sock) if want is Want.READ else writable(sock))
    except TimeoutError:
        raise HandshakeFailed(
            "timeout",
            f"the handshake was not finished within {HANDSHAKE_TIMEOUT_S:.0f} s: the peer is overloaded or no sidecar",
        ) from None
    return Secured(sock, tls, check_peer(tls, expected), server)


def _step(tls: TlsConnection) -> Want | None:
    try:
        return tls.handshake()
    except HandshakeFailed as failed:
        why = verify_failure(tls.connection)
        if why is None:
            raise
        raise HandshakeFailed(why.reason, str(why)) from failed


def check_peer(tls: TlsConnection, expected: Expectation) -> Proof:
    """What the peer has proven, when it is an X509-SVID of the expected trust domain and identity.

    Raises HandshakeFailed.
    """
    if tls.alpn != expected.alpn:
        raise HandshakeFailed("wrong_alpn", f"the peer chose the protocol {tls.alpn!r}, expected {expected.alpn!r}")
    chain = tls.peer_chain
    if not chain:
        raise HandshakeFailed("no_certificate", "the peer sent no certificate")
    try:
        leaf = read_peer(chain[0], expected.trust_domain)
    except BadCertificate as error:
        raise HandshakeFailed(error.reason, f"the peer's certificate is refused: {error}") from error
    if expected.identity is not None and leaf.spiffe_id != expected.identity:
        raise HandshakeFailed(
            "wrong_identity",
            f"the peer is {leaf.spiffe_id}, and {expected.identity} is expected at that address",
        )
    return Proof(leaf, anchor(chain[-1]))
