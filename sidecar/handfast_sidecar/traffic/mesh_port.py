"""The mesh port: tunnels from other sidecars, from the accepted connection to the registry.

A slot is taken before a connection is accepted and given back when its handshake is over, so a flood of handshakes
costs a bounded number of them.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.traffic.sockets import abort
from handfast_sidecar.tunnel.connection import AcceptStream, Tunnel
from handfast_sidecar.tunnel.handshake import Expectation, secure
from handfast_sidecar.tunnel.registry import TunnelRegistry

log = logging.getLogger(__name__)

HANDSHAKES: Final = 256
"""Handshakes in flight. Each costs about 100 KB and a millisecond; more wait in the kernel's queue."""
MAX_TUNNELS: Final = 4096
"""Tunnels from other pods together; an idle one costs about 60 KB."""
MAX_TUNNELS_PER_PEER: Final = 128
"""Tunnels from one pod: a few carry new connections, and each rotation may leave one to a long connection."""


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
        clock: Clock = utc_now,
    ) -> None:
        self._identity = identity
        self._accept = accept
        self._opened, self._closed, self._failed = opened, closed, failed
        self._clock = clock
        self._handshakes: set[asyncio.Task[None]] = set()
        self.registry = TunnelRegistry()
        self.released: Callable[[], None] = lambda: None

    def accepted(self, sock: socket.socket, source: str, _source_port: int) -> None:
        """A new connection on the mesh port."""
        if len(self.registry) >= MAX_TUNNELS:
            self._failed("too_many_tunnels")
            abort(sock)
            self.released()
            return
        task = asyncio.create_task(self._secure(sock, source))
        self._handshakes.add(task)
        task.add_done_callback(self._done)

    def drain(self, reason: str) -> None:
        """Ask every client to go elsewhere with new connections."""
        for tunnel in self.registry:
            tunnel.drain(reason)

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
            tunnel = Tunnel(
                secured,
                identity.leaf.not_after,
                accept=self._accept,
                closed=self._ended,
                said=self.registry.said,
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

    def _ended(self, tunnel: Tunnel, reason: str) -> None:
        self.registry.remove(tunnel)
        self._closed(tunnel, reason)
