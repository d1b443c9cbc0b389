"""What the API server holds of some kinds, kept true in memory for a part of the lab that looks at all of it.

The one rule: level, not edge. A change only wakes its reader, who then looks at everything as it is now.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from handfast_lab.api.port import Api

Json = dict[str, Any]


class Following:
    """Objects by resource, and who is told when they change."""

    def __init__(self, api: Api, *resources: str) -> None:
        self._api = api
        self._objects: dict[str, dict[tuple[str, str], Json]] = {resource: {} for resource in resources}
        self._changed = asyncio.Event()

    def all(self, resource: str) -> list[Json]:
        """Every object of a resource, by namespace and name."""
        return [each for _, each in sorted(self._objects[resource].items())]

    def within(self, resource: str, namespace: str) -> list[Json]:
        """Those of one namespace."""
        return [each for each in self.all(resource) if each["metadata"]["namespace"] == namespace]

    async def run(self, look: Callable[[], Awaitable[float | None]]) -> None:
        """Call `look` at the start and after every change, never twice at once, until cancelled.

        It may say after how many seconds it wants to look again, although nothing has changed.
        """
        async with asyncio.TaskGroup() as group:
            for resource in self._objects:
                group.create_task(self._follow(resource))
            while True:
                again_s = await look()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), again_s)
                self._changed.clear()

    async def _follow(self, resource: str) -> None:
        objects = self._objects[resource]
        async for event in self._api.watch(resource):
            meta = event.object["metadata"]
            key = (meta.get("namespace", ""), meta["name"])
            if event.type == "DELETED":
                objects.pop(key, None)
            else:
                objects[key] = event.object
            self._changed.set()
