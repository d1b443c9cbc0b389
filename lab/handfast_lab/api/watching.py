"""Watches: what is there, then what happens to what is selected, as lines of JSON.

The one rule: a client that falls behind what the store remembers is told so (410) and lists again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from handfast_lab.api.problems import ApiProblem
from handfast_lab.api.showing import Showing
from handfast_lab.api.store import Change, Store

Json = dict[str, Any]
INITIAL_END: Final = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True)
class Watch:
    """What a client asks for."""

    resource: str
    namespace: str
    selects: Callable[[Json], bool]
    version: int | None
    """From where; None: from now, after all that is there."""
    bookmarks: bool
    tell_initial_end: bool
    lasts_s: float
    """Seconds after which it ends."""
    wanted: Callable[[], bool] = lambda: True
    """Whether the client is still there."""


async def events(store: Store, watch: Watch, showing: Showing, bookmark_s: float) -> AsyncIterator[Json]:
    """Until it ends. `bookmark_s`: seconds of silence after which a bookmark says that all was told."""
    loop = asyncio.get_running_loop()
    ends, woken = loop.time() + watch.lasts_s, asyncio.Event()
    stop = store.listen(watch.resource, lambda _: woken.set())
    version = store.version if watch.version is None else watch.version
    try:
        if watch.version is None:
            for each in store.all(watch.resource, watch.namespace):
                if watch.selects(each):
                    yield {"type": "ADDED", "object": showing.one(each)}
            if watch.tell_initial_end:
                yield {"type": "BOOKMARK", "object": showing.bookmark(version, dict(INITIAL_END))}
        while loop.time() < ends and watch.wanted():
            woken.clear()
            try:
                changes = store.since(watch.resource, version)
            except ApiProblem as problem:
                yield {"type": "ERROR", "object": problem.status()}
                return
            for change in changes:
                if (event := _seen(change, watch)) is not None:
                    yield {"type": event[0], "object": showing.one(event[1])}
                version = change.version
            if changes:
                continue
            version = max(version, store.version)
            try:
                async with asyncio.timeout(min(bookmark_s, ends - loop.time())):
                    await woken.wait()
            except TimeoutError:
                if watch.bookmarks:
                    yield {"type": "BOOKMARK", "object": showing.bookmark(version, {})}
    finally:
        stop()


def _seen(change: Change, watch: Watch) -> tuple[str, Json] | None:
    """A change as one who sees only what is selected has it."""
    if watch.namespace not in ("", change.object["metadata"].get("namespace")):
        return None
    was = change.before is not None and watch.selects(change.before)
    now = change.type != "DELETED" and watch.selects(change.object)
    if now:
        return ("MODIFIED" if was else "ADDED"), change.object
    if was and change.before is not None:
        version = change.object["metadata"]["resourceVersion"]
        return "DELETED", change.before | {"metadata": change.before["metadata"] | {"resourceVersion": version}}
    return None
