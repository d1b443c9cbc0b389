"""One object as it changes, for as long as somebody looks: a watch, by the reflector that the operator has too."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from handfast_operator.cli.reader import Raw
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import Kind
from handfast_operator.cluster.objects import Key
from handfast_operator.cluster.reflector import Reflector
from handfast_operator.cluster.store import Store


@dataclass(frozen=True, slots=True)
class Seen:
    """A version of an object, unread."""

    raw: Raw

    @property
    def key(self) -> Key:
        return (self.raw["metadata"].get("namespace", ""), self.raw["metadata"]["name"])

    @property
    def resource_version(self) -> int:
        return int(self.raw["metadata"]["resourceVersion"])


async def versions(client: ApiClient, kind: Kind, namespace: str, name: str) -> AsyncGenerator[Raw]:
    """The object as it is now, and after each change; ends when it is deleted. An API server that is away is waited
    for."""
    store = Store[Seen]()
    news: asyncio.Queue[Seen | None] = asyncio.Queue()

    def changed(before: Seen | None, after: Seen | None) -> None:
        either = after or before
        if either is not None and either.key == (namespace, name):
            news.put_nowait(after)

    store.subscribe(changed)
    reflector = asyncio.create_task(Reflector(client, kind, store, Seen).run())
    try:
        while (seen := await news.get()) is not None:
            yield seen.raw
    finally:
        reflector.cancel()
        with suppress(asyncio.CancelledError):
            await reflector
