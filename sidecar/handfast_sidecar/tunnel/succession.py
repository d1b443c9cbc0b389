"""Which tunnel is the latest to each endpoint, and how another one takes its place: in time, or when it is asked for.

Its one rule: the old tunnel carries its streams until a new one is accepted by the same pod, with newer leaves or those
of another issuer; what is not newer replaces nothing.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial

from handfast_sidecar.directory.messages import Endpoint
from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.identity.clock import Clock
from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.tunnel import renewal
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.frames import GoAway
from handfast_sidecar.tunnel.handshake import HANDSHAKE_TIMEOUT_S
from handfast_sidecar.tunnel.hello import ControlLine, RenewNotice

log = logging.getLogger(__name__)

PoolKey = tuple[str, SpiffeId, str, int]
"""Address, identity, pod UID, and lane: an address that changes hands gets a tunnel of its own."""


class Renewing:
    """A renewal under way."""

    __slots__ = ("asked", "failures", "task", "wake")

    task: "asyncio.Task[None]"

    def __init__(self) -> None:
        self.asked = False
        """Whether the server has asked for it, and was not dialled since."""
        self.failures = 0
        self.wake = asyncio.Event()
        """Set when the next try shall not wait."""


class Succession:
    """The latest tunnels, by endpoint and lane.

    identity  the leaf in force
    dial      opens a tunnel to an endpoint, which renews the one of the given id, if any; raises HandshakeFailed
    failed    called with the reason of each renewal that failed
    """

    def __init__(
        self,
        identity: Callable[[], Identity],
        dial: Callable[[Endpoint, str], Awaitable[Tunnel]],
        failed: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._identity, self._dial, self._failed, self._clock = identity, dial, failed, clock
        self.current: dict[PoolKey, Tunnel] = {}
        self._endpoints: dict[PoolKey, Endpoint] = {}
        self._orphans: dict[PoolKey, Tunnel] = {}
        """Tunnels that still carry streams and whose successor was lost: the next one takes over from them."""
        self.renewals: dict[Tunnel, Renewing] = {}

    async def first(self, key: PoolKey, endpoint: Endpoint) -> Tunnel:
        """A tunnel where there is none that takes streams. Raises HandshakeFailed."""
        orphan = self._orphans.pop(key, None)
        tunnel = await self._dial(endpoint, orphan.id if orphan is not None else "")
        if orphan is not None:
            tunnel.succeed(orphan)
        self._adopt(key, endpoint, tunnel)
        return tunnel

    def identity_changed(self) -> None:
        """Renew soon what rests on a leaf of ours that another issuer signed, not all of it in one turn."""
        latest = [*self.current.items(), *self._orphans.items()]
        due = [(key, tunnel) for key, tunnel in latest if self._is_outdated(tunnel)]
        spread = renewal.spread_s(len(due))
        for key, tunnel in due:
            self._renew_within(spread, key, tunnel)

    def _is_outdated(self, tunnel: Tunnel) -> bool:
        return tunnel.footing.own.leaf.issuer != self._identity().leaf.issuer

    def _renew_within(self, seconds: float, key: PoolKey, tunnel: Tunnel) -> None:
        delay = random.uniform(0, seconds)  # noqa: S311 - jitter, not a secret
        endpoint = self._endpoints[key]
        asyncio.get_running_loop().call_later(delay, self.renew, key, endpoint, tunnel)

    def said(self, tunnel: Tunnel, line: ControlLine) -> None:
        """A server with a leaf of another issuer asks for a renewal."""
        if not isinstance(line, RenewNotice):
            return
        loop = asyncio.get_running_loop()
        for key, latest in [*self.current.items(), *self._orphans.items()]:
            if latest is tunnel:
                delay = max(0.0, tunnel.began + renewal.APART_S - loop.time())
                loop.call_later(delay, partial(self.renew, asked=True), key, self._endpoints[key], tunnel)

    def ended(self, tunnel: Tunnel) -> list[Endpoint]:
        """A tunnel is gone: the endpoints whose latest it was."""
        if tunnel in self.renewals:
            self.renewals[tunnel].wake.set()
        found = []
        for key in [key for key, current in self.current.items() if current is tunnel]:
            del self.current[key]
            found.append(self._endpoints[key])
            self._lost(key, tunnel)
        for key in [key for key, orphan in self._orphans.items() if orphan is tunnel]:
            del self._orphans[key]
        return found

    def renew(self, key: PoolKey, endpoint: Endpoint, tunnel: Tunnel, *, asked: bool = False) -> None:
        """Renew a tunnel now, or try again now where that is under way; `asked`: its server wants it."""
        if not self._is_to_be_renewed(key, tunnel):
            return
        renewing = self.renewals.get(tunnel)
        if renewing is None:
            renewing = self.renewals[tunnel] = Renewing()
            renewing.task = asyncio.create_task(self._renew(key, endpoint, tunnel, renewing))
            renewing.task.add_done_callback(lambda _task: self.renewals.pop(tunnel, None))
        renewing.asked = renewing.asked or asked
        renewing.wake.set()

    def cancel(self) -> None:
        """End all renewals."""
        for each in self.renewals.values():
            each.task.cancel()

    def _adopt(self, key: PoolKey, endpoint: Endpoint, tunnel: Tunnel) -> None:
        self.current[key], self._endpoints[key] = tunnel, endpoint
        delay = (renewal.renew_at(tunnel.established, tunnel.expires) - self._clock()).total_seconds()
        asyncio.get_running_loop().call_later(max(0.0, delay), self.renew, key, endpoint, tunnel)
        if self._is_outdated(tunnel):
            # Our leaf was exchanged during the handshake.
            self._renew_within(renewal.SPREAD_S, key, tunnel)

    def _lost(self, key: PoolKey, tunnel: Tunnel) -> None:
        """A tunnel ended whose elders still carry streams: the youngest of them is renewed in its place."""
        elders = [each for each in tunnel.elders if not each.closed]
        if elders:
            orphan = self._orphans[key] = elders.pop()
            orphan.elders = elders
            self.renew(key, self._endpoints[key], orphan)
        else:
            del self._endpoints[key]

    def _is_to_be_renewed(self, key: PoolKey, tunnel: Tunnel) -> bool:
        """Whether it is the one that the next tunnel takes over from; not when its server goes away."""
        latest = self.current.get(key) or self._orphans.get(key)
        return latest is tunnel and not (tunnel.closed or tunnel.mux.peer_going_away)

    async def _renew(self, key: PoolKey, endpoint: Endpoint, old: Tunnel, renewing: Renewing) -> None:
        """Replace a tunnel by one with newer leaves, trying again until one side's old leaf has made way."""
        while self._is_to_be_renewed(key, old):
            renewing.wake.clear()
            # While our own leaf is still the old one, a new tunnel would live no longer.
            if renewing.asked or self._is_outdated(old) or self._identity().leaf.not_after > old.expires:
                successor = await self._successor(endpoint, old, renewing)
                if successor is not None and self._is_to_be_renewed(key, old):
                    self._orphans.pop(key, None)
                    successor.succeed(old)
                    self._adopt(key, endpoint, successor)
                    old.drain("renewed")
                    return
                if successor is not None:
                    _dismiss(successor, "not_needed")
                    return
                renewing.failures += 1
            now = self._clock()
            again = renewal.retry_at(now, old.expires)
            if renewing.asked or self._is_outdated(old):
                again = renewal.asked_retry_at(now, old.expires, renewing.failures)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout((again - now).total_seconds()):
                    await renewing.wake.wait()

    async def _successor(self, endpoint: Endpoint, old: Tunnel, renewing: Renewing) -> Tunnel | None:
        try:
            tunnel = await self._dial(endpoint, old.id)
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
        if tunnel.accepted:
            renewing.asked = False
            if tunnel.footing.replaces(old.footing) and tunnel.peer.pod_uid == old.peer.pod_uid:
                return tunnel
        _dismiss(tunnel, "not_newer")
        return None


def _dismiss(tunnel: Tunnel, reason: str) -> None:
    """End a tunnel that carries nothing; without the go-away its server would take it for lost."""
    tunnel.mux.go_away(GoAway.NORMAL)
    tunnel.close(reason)
