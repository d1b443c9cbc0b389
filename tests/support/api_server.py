"""An API server of one collection, over HTTP: lists in pages, watches that say what the test tells them to.

What it answers is scripted, because its subject is how a reflector meets bad days; tests/cluster has the real one.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web

from handfast_operator.cluster.access import Access
from handfast_operator.cluster.client import ApiClient

Json = dict[str, Any]
GONE: Final = (410, "Expired", "the provided resource version is too old")


def config_map(name: str, version: int, **more: Any) -> Json:
    """An object with little in it."""
    return {
        "metadata": {"namespace": "shop", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)},
        **more,
    }


class Watch:
    """One watch that somebody opened."""

    def __init__(self, query: dict[str, str], accept: str) -> None:
        self.query = query
        self.accept = accept
        self.version = 0
        """The highest that was said."""
        self.says: asyncio.Queue[bytes | None] = asyncio.Queue()

    def event(self, kind: str, item: Json) -> None:
        """Say that something happened."""
        self.version = max(self.version, int((item.get("metadata") or {}).get("resourceVersion", "0")))
        self.says.put_nowait(json.dumps({"type": kind, "object": item}).encode() + b"\n")

    def bookmark(self, version: int) -> None:
        self.event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})

    def error(self, status: int, reason: str, message: str) -> None:
        """An error inside the stream, as the API server sends it."""
        self.event("ERROR", {"kind": "Status", "code": status, "reason": reason, "message": message})

    def end(self) -> None:
        self.says.put_nowait(None)


class ApiServer:
    """Answers GET of any path as the collection's list or watch."""

    def __init__(self) -> None:
        self.items: list[Json] = []
        self.version = 1
        self.went_back = False
        """Whether `version` is where history ends, whatever watches have said."""
        self.drop = 0
        """Connections to be broken, from the next one on."""
        self.looks = 0
        """Lists of one object, which are asked for the version alone."""
        self.opened: list[Watch] = []
        self.lists: list[dict[str, str]] = []
        """Queries of the lists that were asked for."""
        self.refuse_lists: list[tuple[int, str, str] | None] = []
        """Answers of the next lists, in order; None: a good one."""
        self.refuse_watches: list[tuple[int, str, str] | None] = []
        self.watches: asyncio.Queue[Watch] = asyncio.Queue()
        self.accepts: list[str] = []

    async def watch(self) -> Watch:
        """The next watch that is opened."""
        return await self.watches.get()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        if self.drop and request.transport is not None:
            self.drop -= 1
            request.transport.abort()
        if query.get("watch") == "true":
            return await self._watch(request, query)
        if query.get("limit") == "1":
            self.looks += 1
            version = self.version if self.went_back else max([self.version, *(each.version for each in self.opened)])
            return web.json_response({"metadata": {"resourceVersion": str(version)}, "items": self.items[:1]})
        self.lists.append(query)
        self.accepts.append(request.headers.get("Accept", ""))
        refused = self.refuse_lists.pop(0) if self.refuse_lists else None
        return status(*refused) if refused is not None else self._page(query)

    def _page(self, query: dict[str, str]) -> web.Response:
        start, limit = int(query.get("continue", 0)), int(query["limit"])
        page = self.items[start : start + limit]
        metadata: Json = {"resourceVersion": str(self.version)}
        if start + limit < len(self.items):
            metadata["continue"] = str(start + limit)
        return web.json_response({"metadata": metadata, "items": page})

    async def _watch(self, request: web.Request, query: dict[str, str]) -> web.StreamResponse:
        refused = self.refuse_watches.pop(0) if self.refuse_watches else None
        if refused is not None:
            return status(*refused)
        watch = Watch(query, request.headers.get("Accept", ""))
        self.opened.append(watch)
        self.watches.put_nowait(watch)
        response = web.StreamResponse()
        await response.prepare(request)
        while (said := await watch.says.get()) is not None:
            await response.write(said)
        return response


def status(code: int, reason: str, message: str) -> web.Response:
    """A metav1.Status."""
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": message}, status=code)


@asynccontextmanager
async def serving(routes: Sequence[web.RouteDef]) -> AsyncIterator[ApiClient]:
    """A client of an HTTP server with these routes."""
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = runner.addresses[0]
        async with ApiClient.connect(Access(f"http://{address[0]}:{address[1]}", None)) as client:
            yield client
    finally:
        await runner.cleanup()


@asynccontextmanager
async def api_server() -> AsyncIterator[tuple[ApiServer, ApiClient]]:
    """An empty collection and a client of it."""
    server = ApiServer()
    async with serving([web.get("/{path:.*}", server.answer)]) as client:
        yield server, client
