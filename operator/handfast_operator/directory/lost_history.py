"""Sidecars that hold a policy of a history that the API server has lost: its etcd was restored from a copy.

Revisions order policies, so such a sidecar would refuse those of today until the new history has passed the revision
that it holds. The one rule: it is overruled only when the API server itself says that it has not come that far. Where
merely this replica is behind, the sidecar is right, and is told again when the replica has caught up.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp

from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import METADATA_ONLY, NAMESPACES

log = logging.getLogger(__name__)

AGAIN_S: Final = 1.0
"""Seconds between looks, while there is somebody to be told."""
Current = Callable[[], Awaitable[int]]
"""The revision that the API server has come to. Raises ApiError or an aiohttp error."""


async def current_revision(client: ApiClient) -> int:
    """Of the API server, not of any cache of ours. Raises ApiError."""
    page = await client.get(NAMESPACES.path, {"limit": "1"}, accept=METADATA_ONLY)
    return int(page["metadata"]["resourceVersion"])


class LostHistory:
    """Notices them, and has them told."""

    def __init__(
        self,
        known: Callable[[], int],
        current: Current,
        tell: Callable[[str, int], None],
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`known`: revision of our policies; `tell`: sends a pod (UID) its policy, over this revision or (0) none."""
        self._known = known
        self._current = current
        self._tell = tell
        self._pause = pause
        self._held: dict[str, int] = {}
        self._seen_lost = 0
        self._woken = asyncio.Event()

    def reported(self, uid: str, held: int, told: int) -> None:
        """A sidecar has a policy of revision `held`; the last one that it was told here had `told`."""
        if held > told:
            self._held[uid] = held
            self._woken.set()

    def went_back(self, before: int) -> None:
        """This replica has seen it happen; it had come to the revision `before`.

        A revision up to it is then taken for a lost one even when the new history has passed it: nobody tells a replica
        at once that it knows everything up to now. One of the new history that is overruled so is told again.
        """
        self._seen_lost = max(self._seen_lost, before)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._look()
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("cannot ask the API server for its revision, trying again", extra={"error": str(error)})
            if self._held:
                await self._pause(AGAIN_S)
                self._woken.set()

    async def _look(self) -> None:
        known = self._known()
        current = await self._current()
        if known > current:
            return  # our own lists are of the lost history: the reflectors read them again
        held, self._held = self._held, {}
        lost = {uid for uid, revision in held.items() if revision > current or known < revision <= self._seen_lost}
        for uid, revision in held.items():
            if uid in lost:
                self._tell(uid, revision)
            elif revision <= known:
                self._tell(uid, 0)
            else:
                self._held.setdefault(uid, revision)
        if lost:
            log.warning(
                "sidecars hold policies of a history that the API server has lost: they are told those of today",
                extra={"sidecars": len(lost), "revision": current},
            )
