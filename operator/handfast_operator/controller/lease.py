"""One controller acts: the holder of a Lease (coordination.k8s.io/v1).

The one rule: a holder that cannot renew in time stops writing before another may begin. `may_take` is pure; the rest
asks and writes, over the version that it read.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp

from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import LEASES
from handfast_sidecar.errors import HandfastError
from handfast_sidecar.identity.clock import Clock, utc_now

log = logging.getLogger(__name__)

Json = dict[str, Any]
LEASE_NAME: Final = "handfast-controller"
DURATION: Final = timedelta(seconds=15)
"""How long a holder that says nothing is still believed."""
RENEW_S: Final = 5.0
GIVE_UP: Final = timedelta(seconds=10)
"""A holder that could not renew for this long stops, with time to spare before another may begin."""


class LeaseLost(HandfastError):
    """Another controller holds the Lease, or it could not be renewed: this process must write no more."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A Lease as read, and when this process first saw it so: clocks of others are not trusted."""

    holder: str
    renewed: str
    version: str
    since: datetime


def may_take(seen: Seen, me: str, now: datetime) -> bool:
    """Whether the Lease is ours, nobody's, or unchanged for longer than its duration."""
    return seen.holder in ("", me) or now - seen.since > DURATION


class Election:
    """Takes the Lease and keeps it."""

    def __init__(self, client: ApiClient, namespace: str, me: str, clock: Clock = utc_now) -> None:
        self._client = client
        self._namespace = namespace
        self._me = me
        self._clock = clock
        self._seen: Seen | None = None
        self.leading = False

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while True:
            try:
                if await self._try():
                    self.leading = True
                    log.info("leading", extra={"lease": LEASE_NAME, "holder": self._me})
                    return
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("cannot ask for the lease, trying again", extra={"error": str(error)})
            await asyncio.sleep(RENEW_S / 2)

    async def keep(self) -> None:
        """Renew until cancelled; raises LeaseLost."""
        renewed = self._clock()
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                async with asyncio.timeout(RENEW_S):
                    held = await self._try()
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("cannot renew the lease", extra={"error": str(error)})
                if self._clock() - renewed > GIVE_UP:
                    self.leading = False
                    raise LeaseLost(f"the Lease {LEASE_NAME} could not be renewed for {GIVE_UP}: {error}") from error
                continue
            if not held:
                self.leading = False
                raise LeaseLost(f"the Lease {LEASE_NAME} has another holder: this controller stops")
            renewed = self._clock()

    async def release(self) -> None:
        """Let the next controller begin at once."""
        if self.leading and self._seen is not None:
            self.leading = False
            lease = self._lease(holder="", version=self._seen.version)
            await self._client.replace(LEASES.item(self._namespace, LEASE_NAME), lease)

    async def _try(self) -> bool:
        """Read the Lease and write ourselves into it when we may; whether we hold it now. Raises ApiError."""
        try:
            raw = await self._client.get(LEASES.item(self._namespace, LEASE_NAME))
        except ApiError as error:
            if error.status != 404:
                raise
            written = await self._client.create(LEASES.within(self._namespace), self._lease(self._me, ""))
            self._seen = self._read(written)
            return True
        seen = self._read(raw)
        known = self._seen
        if known is not None and (known.holder, known.renewed) == (seen.holder, seen.renewed):
            seen = Seen(seen.holder, seen.renewed, seen.version, known.since)
        self._seen = seen
        if not may_take(seen, self._me, self._clock()):
            return False
        try:
            written = await self._client.replace(
                LEASES.item(self._namespace, LEASE_NAME), self._lease(self._me, seen.version)
            )
        except ApiError as error:
            if error.status != 409:
                raise
            return False  # another was faster
        self._seen = self._read(written)
        return True

    def _read(self, raw: Json) -> Seen:
        spec = raw.get("spec") or {}
        version = str(raw["metadata"]["resourceVersion"])
        return Seen(spec.get("holderIdentity") or "", str(spec.get("renewTime")), version, self._clock())

    def _lease(self, holder: str, version: str) -> Json:
        metadata: Json = {"name": LEASE_NAME, "namespace": self._namespace}
        if version:
            metadata["resourceVersion"] = version
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": int(DURATION.total_seconds()),
                "acquireTime": now,
                "renewTime": now,
            },
        }
