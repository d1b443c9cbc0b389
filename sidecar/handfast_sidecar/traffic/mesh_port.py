"""The mesh port: tunnels from other sidecars, from the accepted connection to the registry.

A slot is taken before a connection is accepted and given back when its handshake is over, so a flood of handshakes
costs a bounded number of them.
"""

import asyncio
import logging
import random
import socket
import time
from collections.abc import Callable
from typing import Final

from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.policy.limiter import HandshakeLimit
from handfast_sidecar.policy.verdict import Verdict
from handfast_sidecar.traffic.sockets import abort
from handfast_sidecar.tunnel import renewal
from handfast_sidecar.tunnel.connection import AcceptStream, Tunnel
from handfast_sidecar.tunnel.handshake import Expectation, secure
from handfast_sidecar.tunnel.hello import ControlLine, RenewNotice, TunnelHello
from handfast_sidecar.tunnel.registry import TunnelRegistry

log = logging.getLogger(__name__)

HANDSHAKES: Final = 256
"""Handshakes in flight. Each costs about 100 KB and a millisecond; more wait in the kernel's queue."""
MAX_TUNNELS: Final = 4096
"""Tunnels from other pods together; an idle one costs about 60 KB."""
MAX_TUNNELS_PER_PEER: Final = 128
"""Tunnels from one pod: a few carry new connections, and each rotation may leave one to a long connection."""
TELL_EVERY_S: Final = 1.0
"""Seconds between sentences about one thing that is over its limit: there may be thousands a second."""


class MeshPort:
    """Secures what the listener accepts and gives each tunnel's streams to `accept`."""

    def __init__(
        self,
        identity: Callable[[], Identity],
        accept: AcceptStream,
        *,
        opened: Callable[[Tunnel], None],
        closed: Callable[[Tunnel, str], None],
        failed: Callable[[str], None],
        limit: HandshakeLimit,
        standing: Standing | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._identity = identity
        self._accept = accept
        self._opened, self._closed, self._failed = opened, closed, failed
        self._limit = limit
        self._standing = standing or Standing(identity)
        self._refused = _Told("handshakes over the limit are refused")
        self._audited = _Told("handshakes over the limit pass")
        self._clock = clock
        self._handshakes: set[asyncio.Task[None]] = set()
        self._draining = ""
        """Why no new connections are taken; empty: they are."""
        self.registry = TunnelRegistry()
        self.released: Callable[[], None] = lambda: None

    def accepted(self, sock: socket.socket, source: str, _source_port: int) -> None:
        """A new connection on the mesh port."""
        if len(self.registry) >= MAX_TUNNELS:
            self._failed("too_many_tunnels")
            abort(sock)
            self.released()
            return
        over = self._limit.over()
        if over is not None:
            (self._audited if over.allowed else self._refused).tell(over)
            if not over.allowed:
                self._failed(over.reason)
                abort(sock)
                self.released()
                return
        task = asyncio.create_task(self._secure(sock, source))
        self._handshakes.add(task)
        task.add_done_callback(self._done)

    def drain(self, reason: str) -> None:
        """Ask every client to go elsewhere with new connections, those in their handshake too."""
        self._draining = reason
        for tunnel in self.registry:
            tunnel.drain(reason)

    def look_again(self) -> None:
        """End the tunnels of whom there is something against now: the bundle has changed, or what is revoked."""
        for tunnel in self.registry:
            tunnel.hold_against(self._standing)

    def identity_changed(self) -> None:
        """Ask the clients to renew what rests on a leaf of ours that another issuer signed."""
        superseded = {elder for tunnel in self.registry for elder in tunnel.elders}
        due = [tunnel for tunnel in self.registry if self._is_outdated(tunnel) and tunnel not in superseded]
        spread = renewal.spread_s(len(due))
        for tunnel in due:
            delay = random.uniform(0, spread)  # noqa: S311 - jitter, not a secret
            asyncio.get_running_loop().call_later(delay, self._ask, tunnel)

    def _is_outdated(self, tunnel: Tunnel) -> bool:
        return tunnel.footing.own.leaf.issuer != self._identity().leaf.issuer

    def _ask(self, tunnel: Tunnel) -> None:
        if self._is_outdated(tunnel):
            tunnel.say(RenewNotice("issuer_changed"))

    def close(self, reason: str) -> None:
        """End every tunnel and handshake."""
        for task in list(self._handshakes):
            task.cancel()
        for tunnel in self.registry:
            tunnel.close(reason)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._handshakes.discard(task)
        self.released()

    async def _secure(self, sock: socket.socket, source: str) -> None:
        identity = self._identity()
        try:
            expected = Expectation(identity.leaf.spiffe_id.trust_domain)
            secured = await secure(sock, identity.contexts.server, expected, server=True)
            if self.registry.of_peer(secured.peer) >= MAX_TUNNELS_PER_PEER:
                raise HandshakeFailed(
                    "too_many_tunnels_of_peer", f"{secured.peer.spiffe_id} has {MAX_TUNNELS_PER_PEER} tunnels already"
                )
            self._standing.check(secured.proof, identity.material.proof)
            tunnel = Tunnel(
                secured,
                identity.material.proof,
                accept=self._accept,
                closed=self._ended,
                said=self._said,
                clock=self._clock,
            )
        except HandshakeFailed as failure:
            self._failed(failure.reason)
            log.warning("tunnel refused", extra={"source": source, "reason": failure.reason, "detail": str(failure)})
            sock.close()
        except OSError as error:
            self._failed("closed")
            log.info("tunnel lost during its handshake", extra={"error": str(error)})
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            self.registry.add(tunnel)
            self._opened(tunnel)
            if self._draining:
                tunnel.drain(self._draining)

    def _said(self, tunnel: Tunnel, line: ControlLine) -> None:
        self.registry.said(tunnel, line)
        if isinstance(line, TunnelHello):
            # Our leaf may have been exchanged during the handshake.
            self._ask(tunnel)

    def _ended(self, tunnel: Tunnel, reason: str) -> None:
        self.registry.remove(tunnel)
        self._closed(tunnel, reason)


class _Told:
    """A warning with a verdict's words, at most one in TELL_EVERY_S."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._next = 0.0

    def tell(self, verdict: Verdict) -> None:
        """Log it, or pass it over."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + TELL_EVERY_S
            log.warning(
                self._message, extra={"reason": verdict.reason, "rule": verdict.rule, "detail": verdict.sentence}
            )
