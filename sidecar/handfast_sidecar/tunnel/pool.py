"""The client's tunnels: one to each pod it talks to, dialled once for all who wait, renewed before the leaves expire.

No silent downgrade: when a tunnel cannot be had, `get` raises, and the connection is refused.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Final

from handfast_sidecar.directory.messages import Endpoint
from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.tunnel import renewal, unreachable
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.frames import GoAway
from handfast_sidecar.tunnel.handshake import HANDSHAKE_TIMEOUT_S, Expectation, secure
from handfast_sidecar.wellknown import MESH_PORT

log = logging.getLogger(__name__)

DIAL_TIMEOUT_S: Final = 5.0
"""Seconds for TCP to connect to a peer's mesh port."""
IDLE_S: Final = 60.0
"""Seconds without a stream after which a tunnel is closed."""
SWEEP_S: Final = 5.0

LANES: Final = 4
"""Tunnels that new connections to one pod may use; a further one is opened when those before are saturated."""
RELIEF_RETRY_S: Final = 10.0
"""Seconds without another try after a further tunnel could not be had."""

PoolKey = tuple[str, SpiffeId, str, int]
"""Address, identity, pod UID, and lane: an address that changes hands gets a tunnel of its own."""


class TunnelPool:
    """Tunnels by endpoint.

    identity  the leaf and contexts in force, asked at each handshake
    opened    called with each new tunnel, for metrics
    closed    called with each tunnel that ended, and the reason
    failed    called with the reason of each handshake that failed
    """

    def __init__(
        self,
        identity: Callable[[], Identity],
        *,
        opened: Callable[[Tunnel], None],
        closed: Callable[[Tunnel, str], None],
        failed: Callable[[str], None],
        mesh_port: int = MESH_PORT,
        clock: Clock = utc_now,
    ) -> None:
        self._identity = identity
        self._opened, self._closed, self._failed = opened, closed, failed
        self._mesh_port = mesh_port
        self._clock = clock
        self._current: dict[PoolKey, Tunnel] = {}
        self._endpoints: dict[PoolKey, Endpoint] = {}
        self._orphans: dict[PoolKey, Tunnel] = {}
        """Tunnels that still carry streams and whose successor was lost: the next one takes over from them."""
        self._dials: dict[PoolKey, asyncio.Task[Tunnel]] = {}
        self._renewals: set[asyncio.Task[None]] = set()
        self._all: set[Tunnel] = set()
        self._relief_from = 0.0
        self.leaving: Callable[[Endpoint], None] = lambda _endpoint: None
        """Called with an endpoint whose tunnel ended after it had said that it goes away."""

    def ready(self, endpoint: Endpoint) -> Tunnel | None:
        """The tunnel to an endpoint, when there is one that takes streams."""
        key = _key(endpoint)
        tunnel = self._current.get(key)
        if tunnel is None or not tunnel.usable:
            return None
        return self._relief(endpoint, tunnel) if tunnel.saturated else tunnel

    def open_streams(self, endpoint: Endpoint) -> int:
        """Connections that this pod has to an endpoint."""
        lanes = (self._current.get(_key(endpoint, lane)) for lane in range(LANES))
        return sum(tunnel.open_streams for tunnel in lanes if tunnel is not None)

    def drains(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint said on its tunnel that it goes away."""
        tunnel = self._current.get(_key(endpoint))
        return tunnel is not None and tunnel.mux.peer_going_away

    def _relief(self, endpoint: Endpoint, first: Tunnel) -> Tunnel:
        """A tunnel beside a saturated one; it is opened in the background, nobody waits for it."""
        open_ones = [first]
        for lane in range(1, LANES):
            beside = _key(endpoint, lane)
            tunnel = self._current.get(beside)
            if tunnel is None or not tunnel.usable:
                if asyncio.get_running_loop().time() >= self._relief_from:
                    self._start_dial(beside, endpoint).add_done_callback(self._relief_dialled)
                break
            if not tunnel.saturated:
                return tunnel
            open_ones.append(tunnel)
        return min(open_ones, key=lambda each: each.open_streams)

    def _relief_dialled(self, dial: "asyncio.Task[Tunnel]") -> None:
        if dial.cancelled() or dial.exception() is not None:
            self._relief_from = asyncio.get_running_loop().time() + RELIEF_RETRY_S

    def _start_dial(self, key: PoolKey, endpoint: Endpoint) -> "asyncio.Task[Tunnel]":
        """The dial that runs already, or a new one; its failure is for whoever waits, and else only counted."""
        dial = self._dials.get(key)
        if dial is None:
            dial = self._dials[key] = asyncio.create_task(self._first(key, endpoint))
            dial.add_done_callback(lambda done: done.cancelled() or done.exception())
        return dial

    async def get(self, endpoint: Endpoint) -> Tunnel:
        """A tunnel to the endpoint; all who ask meanwhile share one dial. Raises HandshakeFailed."""
        tunnel = self.ready(endpoint)
        if tunnel is not None:
            return tunnel
        # Shielded: the first to give up must not take the tunnel away from the others.
        return await asyncio.shield(self._start_dial(_key(endpoint), endpoint))

    async def run(self) -> None:
        """Close what nobody uses."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep(asyncio.get_running_loop().time())

    def sweep(self, now: float) -> None:
        """Close what nobody has used for IDLE_S, at a time of the event loop's clock."""
        for tunnel in list(self._all):
            if not tunnel.needed and tunnel.idle_since < now - IDLE_S:
                tunnel.drain("idle")

    def drain(self, reason: str) -> None:
        """No new streams on any tunnel."""
        for tunnel in list(self._all):
            tunnel.drain(reason)

    def close(self, reason: str) -> None:
        """End every tunnel, dial and renewal."""
        for task in [*self._dials.values(), *self._renewals]:
            task.cancel()
        for tunnel in list(self._all):
            tunnel.close(reason)

    async def _first(self, key: PoolKey, endpoint: Endpoint) -> Tunnel:
        try:
            orphan = self._orphans.pop(key, None)
            tunnel = await self._dial(endpoint, renews=orphan.id if orphan is not None else "")
            if orphan is not None:
                tunnel.succeed(orphan)
            self._adopt(key, endpoint, tunnel)
            return tunnel
        except HandshakeFailed as failure:
            self._failed(failure.reason)
            raise
        finally:
            del self._dials[key]

    def _adopt(self, key: PoolKey, endpoint: Endpoint, tunnel: Tunnel) -> None:
        self._current[key], self._endpoints[key] = tunnel, endpoint
        delay = (renewal.renew_at(tunnel.established, tunnel.expires) - self._clock()).total_seconds()
        asyncio.get_running_loop().call_later(max(0.0, delay), self._start_renewal, key, endpoint, tunnel)

    async def _dial(self, endpoint: Endpoint, renews: str = "") -> Tunnel:
        identity = self._identity()
        sock = await _connect(endpoint.address, self._mesh_port)
        try:
            expected = Expectation(identity.leaf.spiffe_id.trust_domain, endpoint.identity)
            secured = await secure(sock, identity.contexts.client, expected, server=False)
            tunnel = Tunnel(secured, identity.leaf.not_after, accept=None, closed=self._ended, clock=self._clock)
        except BaseException:
            sock.close()
            raise
        self._all.add(tunnel)
        tunnel.introduce(renews)
        self._opened(tunnel)
        return tunnel

    def _ended(self, tunnel: Tunnel, reason: str) -> None:
        self._all.discard(tunnel)
        for key in [key for key, current in self._current.items() if current is tunnel]:
            del self._current[key]
            if tunnel.mux.peer_going_away:
                self.leaving(self._endpoints[key])
            self._succession_lost(key, tunnel)
        for key in [key for key, orphan in self._orphans.items() if orphan is tunnel]:
            del self._orphans[key]
        if not tunnel.accepted:
            # With TLS 1.3 a client is done before the server has looked at its certificate: this is how a "no" arrives.
            self._failed("refused_by_peer")
        self._closed(tunnel, reason)

    def _succession_lost(self, key: PoolKey, tunnel: Tunnel) -> None:
        """A tunnel ended whose elders still carry streams: the youngest of them is renewed in its place."""
        elders = [each for each in tunnel.elders if not each.closed]
        if elders:
            orphan = self._orphans[key] = elders.pop()
            orphan.elders = elders
            self._start_renewal(key, self._endpoints[key], orphan)
        else:
            del self._endpoints[key]

    def _is_to_be_renewed(self, key: PoolKey, tunnel: Tunnel) -> bool:
        """Whether it is the one that the next tunnel takes over from; not when its server goes away."""
        latest = self._current.get(key) or self._orphans.get(key)
        return latest is tunnel and not (tunnel.closed or tunnel.mux.peer_going_away)

    def _start_renewal(self, key: PoolKey, endpoint: Endpoint, tunnel: Tunnel) -> None:
        if self._is_to_be_renewed(key, tunnel):
            task = asyncio.create_task(self._renew(key, endpoint, tunnel))
            self._renewals.add(task)
            task.add_done_callback(self._renewals.discard)

    async def _renew(self, key: PoolKey, endpoint: Endpoint, old: Tunnel) -> None:
        """Replace a tunnel by one with newer leaves, trying again until one side's old leaf has made way."""
        while self._is_to_be_renewed(key, old):
            successor = await self._successor(endpoint, old)
            if successor is not None and self._is_to_be_renewed(key, old):
                self._orphans.pop(key, None)
                successor.succeed(old)
                self._adopt(key, endpoint, successor)
                old.drain("renewed")
                return
            if successor is not None:
                _dismiss(successor, "not_needed")
                return
            now = self._clock()
            await asyncio.sleep((renewal.retry_at(now, old.expires) - now).total_seconds())

    async def _successor(self, endpoint: Endpoint, old: Tunnel) -> Tunnel | None:
        if self._identity().leaf.not_after <= old.expires:
            return None  # our own leaf is still the old one: a new tunnel would live no longer
        try:
            tunnel = await self._dial(endpoint, renews=old.id)
        except HandshakeFailed as failure:
            self._failed(failure.reason)
            log.warning(
                "a tunnel could not be renewed; it ends with its certificates unless a later try succeeds",
                extra={"peer": str(old.peer.spiffe_id), "expires": old.expires.isoformat(), "reason": str(failure)},
            )
            return None
        # The server must know the new tunnel's name for the old one before the old one may end.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await tunnel.decided.wait()
        if tunnel.accepted and tunnel.expires > old.expires and tunnel.peer.pod_uid == old.peer.pod_uid:
            return tunnel
        _dismiss(tunnel, "not_newer")
        return None


def _dismiss(tunnel: Tunnel, reason: str) -> None:
    """End a tunnel that carries nothing; without the go-away its server would take it for lost."""
    tunnel.mux.go_away(GoAway.NORMAL)
    tunnel.close(reason)


def _key(endpoint: Endpoint, lane: int = 0) -> PoolKey:
    if endpoint.identity is None:
        raise HandshakeFailed(
            "no_expected_identity", f"the directory named no identity for {endpoint.address}: refused"
        )
    return (endpoint.address, endpoint.identity, endpoint.uid, lane)


async def _connect(address: str, port: int) -> socket.socket:
    """A connected non-blocking socket, or HandshakeFailed with what to check."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException as error:
        with contextlib.suppress(OSError):
            sock.close()
        if isinstance(error, TimeoutError):
            raise HandshakeFailed("unreachable", unreachable.no_answer(address, port, DIAL_TIMEOUT_S)) from None
        if isinstance(error, OSError):
            raise HandshakeFailed("unreachable", unreachable.dial_failed(address, port, error)) from error
        raise
    return sock
