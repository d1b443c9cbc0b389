"""One controller acts: the holder of a Lease (coordination.k8s.io/v1).

The one rule: a holder that cannot renew stops writing before another may begin. Clocks are not compared: the holder
counts from before its last write, a candidate from when it first saw that write.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import aiohttp

from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.kinds import LEASES
from handfast_sidecar.errors import HandfastError
from handfast_sidecar.identity.clock import Clock, utc_now

log = logging.getLogger(__name__)

Json = dict[str, Any]
LEASE_NAME: Final = "handfast-controller"
DURATION_S: Final = 15.0
"""Seconds for which a holder that says nothing is still believed."""
GIVE_UP_S: Final = 10.0
"""Seconds without a renewal after which the holder stops: five before another may begin."""
RENEW_S: Final = 5.0
RETRY_S: Final = 1.0
"""Seconds between attempts after one that failed, and between looks of a candidate."""


class LeaseLost(HandfastError):
    """Another controller holds the Lease, or it could not be renewed: this process must write no more."""


class Api(Protocol):
    """What an election needs of the API server; `cluster.client.ApiClient` has it."""

    async def get(self, path: str) -> Json: ...
    async def create(self, path: str, body: Json) -> Json: ...
    async def replace(self, path: str, body: Json) -> Json: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """A Lease as read."""

    holder: str
    renewed: str
    """Only compared with itself: the clocks of others are not trusted."""
    since: float
    """When this process first saw it so, in monotonic seconds."""


def observe(known: Seen | None, holder: str, renewed: str, now: float) -> Seen:
    """What is known after another look: an unchanged Lease keeps its time."""
    if known is not None and (known.holder, known.renewed) == (holder, renewed):
        return known
    return Seen(holder, renewed, now)


def may_take(seen: Seen, me: str, now: float) -> bool:
    """Whether the Lease is ours, nobody's, or unchanged for longer than its duration."""
    return seen.holder in ("", me) or now - seen.since > DURATION_S


class Election:
    """Takes the Lease and keeps it."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        me: str,
        *,
        utc: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._me = me
        self._utc = utc
        self._monotonic = monotonic
        self._pause = pause
        self._seen: Seen | None = None
        self._renewed_at = 0.0
        self.leading = False

    @property
    def standby(self) -> bool:
        """Whether another controller was seen to lead."""
        return not self.leading and self._seen is not None and self._seen.holder not in ("", self._me)

    async def acquire(self) -> None:
        """Wait until this process leads."""
        told = ""
        while True:
            try:
                if await self._try():
                    self.leading = True
                    log.info("leading", extra={"lease": LEASE_NAME, "holder": self._me})
                    return
                holder = self._seen.holder if self._seen is not None else ""
                if holder != told:
                    log.info("waiting for the lease", extra={"lease": LEASE_NAME, "holder": holder})
                    told = holder
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("cannot ask for the lease, trying again", extra={"error": _told(error)})
            await self._pause(RETRY_S)

    async def keep(self) -> None:
        """Renew until cancelled; raises LeaseLost."""
        try:
            pause = RENEW_S
            while True:
                await self._pause(pause)
                pause = RENEW_S if await self._renew() else RETRY_S
        finally:
            self.leading = False

    async def release(self) -> None:
        """Let the next controller begin at once; to be called when this one writes no more."""
        try:
            async with asyncio.timeout(RENEW_S):
                raw = await self._api.get(LEASES.item(self._namespace, LEASE_NAME))
                if (raw.get("spec") or {}).get("holderIdentity") == self._me:
                    await self._write(raw, holder="")
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.info("the lease was not given back, it runs out by itself", extra={"error": _told(error)})

    async def _renew(self) -> bool:
        """One attempt; False: another one is due soon. Raises LeaseLost."""
        left = self._renewed_at + GIVE_UP_S - self._monotonic()
        try:
            async with asyncio.timeout(max(left, 0)):
                renewed = await self._try()
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("cannot renew the lease", extra={"error": _told(error)})
            renewed = False
        if self._seen is not None and self._seen.holder != self._me:
            raise LeaseLost(f"the Lease {LEASE_NAME} is held by {self._seen.holder or 'nobody'}: this controller stops")
        if not renewed and self._monotonic() - self._renewed_at >= GIVE_UP_S:
            raise LeaseLost(
                f"the Lease {LEASE_NAME} could not be renewed for {GIVE_UP_S:.0f} s: this controller stops, so that"
                " another may begin. Is the API server reachable?"
            )
        return renewed

    async def _try(self) -> bool:
        """Read the Lease and write ourselves into it when we may; whether that was done. Raises ApiError."""
        began = self._monotonic()
        try:
            raw = await self._api.get(LEASES.item(self._namespace, LEASE_NAME))
        except ApiError as error:
            if error.status != 404:
                raise
            raw = None
        if raw is not None:
            self._look(raw)
            if self._seen is None or not may_take(self._seen, self._me, self._monotonic()):
                return False
            if self.leading and self._seen.holder != self._me:
                return False  # taken or emptied by somebody: what we did meanwhile may be in conflict
        try:
            written = await self._write(raw, holder=self._me)
        except ApiError as error:
            if error.status != 409:
                raise
            return False  # somebody wrote in between: look again
        self._look(written)
        self._renewed_at = began
        return True

    def _look(self, raw: Json) -> None:
        spec = raw.get("spec") or {}
        holder, renewed = spec.get("holderIdentity") or "", str(spec.get("renewTime"))
        self._seen = observe(self._seen, holder, renewed, self._monotonic())

    async def _write(self, known: Json | None, holder: str) -> Json:
        """Create the Lease, or write it over the version that was read alone."""
        before = (known or {}).get("spec") or {}
        now = self._utc().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        same = before.get("holderIdentity") == holder
        body: Json = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE_NAME, "namespace": self._namespace},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": int(DURATION_S),
                "acquireTime": before.get("acquireTime", now) if same else now,
                "renewTime": now,
                "leaseTransitions": int(before.get("leaseTransitions") or 0) + (not same and bool(holder)),
            },
        }
        if known is None:
            return await self._api.create(LEASES.within(self._namespace), body)
        body["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"]
        return await self._api.replace(LEASES.item(self._namespace, LEASE_NAME), body)


def _told(error: Exception) -> str:
    """A TimeoutError has no words of its own."""
    return str(error) or type(error).__name__
