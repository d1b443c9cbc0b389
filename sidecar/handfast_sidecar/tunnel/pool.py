"""The client's tunnels: one to each pod it talks to, dialled once for all who wait, renewed before the leaves expire.

No silent downgrade: when a tunnel cannot be had, `get` raises, and the connection is refused.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from handfast_sidecar.directory.messages import Endpoint
from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.dial import connect
from handfast_sidecar.tunnel.handshake import Expectation, secure
from handfast_sidecar.tunnel.succession import PoolKey, Succession
from handfast_sidecar.wellknown import MESH_PORT

IDLE_S: Final = 60.0
"""Seconds without a stream after which a tunnel is closed."""
SWEEP_S: Final = 5.0

LANES: Final = 4
"""Tunnels that new connections to one pod may use; a further one is opened when those before are saturated."""
RELIEF_RETRY_S: Final = 10.0
"""Seconds without another try after a further tunnel could not be had."""


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
        standing: Standing | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._identity = identity
        self._standing = standing or Standing(identity)
        self._opened, self._closed, self._failed = opened, closed, failed
        self._mesh_port = mesh_port
        self._clock = clock
        self.succession = Succession(identity, self._dial, failed, clock)
        self._current = self.succession.current
        self._dials: dict[PoolKey, asyncio.Task[Tunnel]] = {}
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

    def __iter__(self) -> Iterator[Tunnel]:
        """All that live, those that only carry their last streams too."""
        return iter(list(self._all))

    def look_again(self) -> None:
        """End the tunnels of whom there is something against now: the bundle has changed, or what is revoked."""
        for tunnel in self:
            tunnel.hold_against(self._standing)

    def identity_changed(self) -> None:
        """Renew soon what rests on a leaf of ours that another issuer signed."""
        self.succession.identity_changed()

    def close(self, reason: str) -> None:
        """End every tunnel, dial and renewal."""
        for dial in self._dials.values():
            dial.cancel()
        self.succession.cancel()
        for tunnel in list(self._all):
            tunnel.close(reason)

    async def _first(self, key: PoolKey, endpoint: Endpoint) -> Tunnel:
        try:
            return await self.succession.first(key, endpoint)
        except HandshakeFailed as failure:
            self._failed(failure.reason)
            raise
        finally:
            del self._dials[key]

    async def _dial(self, endpoint: Endpoint, renews: str = "") -> Tunnel:
        identity = self._identity()
        sock = await connect(endpoint.address, self._mesh_port)
        try:
            expected = Expectation(identity.leaf.spiffe_id.trust_domain, endpoint.identity)
            secured = await secure(sock, identity.contexts.client, expected, server=False)
            own = identity.material.proof
            self._standing.check(secured.proof, own)
            tunnel = Tunnel(secured, own, accept=None, closed=self._ended, said=self.succession.said, clock=self._clock)
        except BaseException:
            sock.close()
            raise
        self._all.add(tunnel)
        tunnel.introduce(renews)
        self._opened(tunnel)
        return tunnel

    def _ended(self, tunnel: Tunnel, reason: str) -> None:
        self._all.discard(tunnel)
        for endpoint in self.succession.ended(tunnel):
            if tunnel.mux.peer_going_away:
                self.leaving(endpoint)
        if not tunnel.accepted:
            # With TLS 1.3 a client is done before the server has looked at its certificate: this is how a "no" arrives.
            self._failed("refused_by_peer")
        self._closed(tunnel, reason)


def _key(endpoint: Endpoint, lane: int = 0) -> PoolKey:
    if endpoint.identity is None:
        raise HandshakeFailed(
            "no_expected_identity", f"the directory named no identity for {endpoint.address}: refused"
        )
    return (endpoint.address, endpoint.identity, endpoint.uid, lane)
