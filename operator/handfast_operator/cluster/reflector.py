"""A store that follows the API server: list, then watch, for ever.

The one rule: what the store says was true at its revision. A gap in the watch is closed by a new list, whose difference
to the store tells what was missed; whatever fails is tried again with back-off, and the store keeps what it has.

History may go back: an etcd that was restored from a copy gives its revisions a second time. A watch from a revision
that is yet to come is silent for ever, so each watch that goes on is preceded by a look at where the server is.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, Generic, TypeVar

import aiohttp

from handfast_operator.cluster.client import ApiClient, ApiError, Json
from handfast_operator.cluster.kinds import METADATA_ONLY, METADATA_ONLY_WATCH, Kind
from handfast_operator.cluster.store import Store, Stored

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Stored)
PAGE: Final = 500
"""Objects per page of a list."""
WATCH_S: Final = 290
"""Seconds after which the API server ends a watch: below the load balancers' usual 300."""
FIRST_BACKOFF_S: Final = 0.2
LAST_BACKOFF_S: Final = 15.0
GONE: Final = 410
BLIND: Final = 2
"""Attempts in a row that did not reach the server, after which it is listed anew: it may be another one by now, whose
history has overtaken the revision that we know."""


def backoff(failures: int) -> float:
    """Seconds to wait after the given number of failures in a row, spread so that replicas do not return together."""
    longest = min(FIRST_BACKOFF_S * (1 << min(failures - 1, 20)), LAST_BACKOFF_S)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries


class Reflector(Generic[T]):
    """Keeps one store true."""

    def __init__(
        self,
        client: ApiClient,
        kind: Kind,
        store: Store[T],
        parse: Callable[[Any], T],
        *,
        went_back: Callable[[str, int], object] = lambda _plural, _before: None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`went_back` is called when the server's history is an older one than before, and the store true again: with
        the kind, and the revision that the store had come to.
        """
        self._client = client
        self._kind = kind
        self._parse = parse
        self.store = store
        self._clock = clock
        self.fresh_at = clock()
        """When the API server last said what is true, in monotonic seconds."""
        self.answered_at = self.fresh_at
        """When it last said anything, a refusal included."""
        self._pause = pause
        self._went_back = went_back
        self._unreached = 0
        self._heard = False
        """Whether the watch that runs has said anything."""
        self._accepted = False
        """Whether the API server took the watch that runs."""
        self._synced = asyncio.Event()
        self._revision = ""
        """Where the watch goes on; empty: a list is needed."""

    @property
    def name(self) -> str:
        """Of the kind, for metrics."""
        return self._kind.plural

    async def wait_synced(self) -> None:
        """Until the first list is complete."""
        await self._synced.wait()

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        failures = 0
        while True:
            self._heard = self._accepted = False
            try:
                if self._revision:
                    await self._look_where_the_server_is()
                if not self._revision:
                    self._revision = await self._list()
                await self._watch()
                problem = "" if self._heard else "the watch ended before anything was said"
            except ApiError as error:
                self.answered_at = self._clock()
                if error.status == GONE:
                    self._revision = ""
                problem = str(error)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                self._unreached += 1
                if self._unreached >= BLIND:
                    self._revision = ""
                # Bookmarks are no promise: a server that accepted the watch and had nothing to say is asked again.
                problem = (
                    "" if self._accepted and isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
                )
            failures = failures + 1 if not self._heard else 1
            if problem and not (failures == 1 and not self._revision):
                log.warning(
                    "cannot follow the API server, trying again", extra={"kind": self._kind.plural, "error": problem}
                )
                await self._pause(backoff(failures))

    async def _look_where_the_server_is(self) -> None:
        """Ask for a list if its history ends before our revision. Raises ApiError."""
        page = await self._client.get(self._kind.path, {"limit": "1"}, accept=self._accept(METADATA_ONLY))
        self._alive()
        if int((page.get("metadata") or {}).get("resourceVersion", "0")) < int(self._revision):
            self._revision = ""

    async def _list(self) -> str:
        """Replace the store by a complete list; the revision to watch from. Raises ApiError, 410 included."""
        items: list[T] = []
        params = {"limit": str(PAGE), **self._selection()}
        while True:
            page = await self._client.get(self._kind.path, params, accept=self._accept(METADATA_ONLY))
            self._alive()
            items.extend(item for raw in page.get("items") or () if (item := self._understood(raw)) is not None)
            meta = page.get("metadata") or {}
            following = meta.get("continue")
            if not following:
                break
            params = {**params, "continue": following}
            del page  # its dictionaries are many times what is kept, and must not live beside the next one's
            await asyncio.sleep(0)  # a large list must not stall those who answer sidecars meanwhile
        revision = str(meta.get("resourceVersion", ""))
        back = int(revision) < self.store.revision or any(map(self._is_older, items))
        before = self.store.revision
        self.store.replace(items, int(revision))
        self._synced.set()
        if back:
            log.error(
                "the API server's history went back: was its etcd restored?",
                extra={"kind": self._kind.plural, "revision": revision},
            )
            self._went_back(self._kind.plural, before)
        return revision

    def _is_older(self, item: T) -> bool:
        known = self.store.get(*item.key)
        return known is not None and item.resource_version < known.resource_version

    async def _watch(self) -> None:
        """Apply events until the server ends the watch."""
        params = {
            "resourceVersion": self._revision,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_S),
            **self._selection(),
        }
        accept = self._accept(METADATA_ONLY_WATCH)
        async with aclosing(self._client.watch(self._kind.path, params, accept=accept, opened=self._opened)) as events:
            async for event in events:
                self._alive()
                self._revision = self._apply(event)
                self._heard = True
        self._alive()

    def _opened(self) -> None:
        """A server that takes a watch is there, and tells first what was missed."""
        self._accepted = True
        self._alive()

    def _alive(self) -> None:
        self.fresh_at = self.answered_at = self._clock()
        self._unreached = 0

    def _apply(self, event: Json) -> str:
        """Take one event into the store; its revision."""
        kind, raw = event.get("type"), event.get("object") or {}
        if kind == "ERROR":
            raise ApiError(
                int(raw.get("code", 500)), str(raw.get("reason", "")), str(raw.get("message", "watch error"))
            )
        meta = raw.get("metadata") or {}
        revision = str(meta.get("resourceVersion", ""))
        if kind in ("ADDED", "MODIFIED"):
            item = self._understood(raw)
            if item is not None:
                self.store.put(item)
        elif kind == "DELETED":
            self.store.remove((meta.get("namespace", ""), meta["name"]), int(revision))
        self.store.seen(int(revision))
        return revision

    def _understood(self, raw: Any) -> T | None:
        """The object, or what is known of it already: one that we cannot read must not stop the others."""
        try:
            return self._parse(raw)
        except (KeyError, TypeError, ValueError, AttributeError):
            meta = raw.get("metadata") or {}
            namespace, name = meta.get("namespace", ""), meta.get("name", "")
            log.exception(
                "an object is not understood, what is known of it stays",
                extra={"kind": self._kind.plural, "object": f"{namespace}/{name}"},
            )
            return self.store.get(namespace, name)

    def _selection(self) -> dict[str, str]:
        return {"labelSelector": self._kind.selector} if self._kind.selector else {}

    def _accept(self, metadata_only: str) -> str:
        return metadata_only if self._kind.metadata_only else "application/json"
