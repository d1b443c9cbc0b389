"""The lab's API server on loopback, and a client that reads what it says."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from handfast_lab.api.object_requests import PodAccess
from handfast_lab.api.problems import ApiProblem
from handfast_lab.api.registry import Registry
from handfast_lab.api.server import application

Json = dict[str, Any]
CORE = "/api/v1/namespaces/default"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]
    warnings: list[str]

    @property
    def message(self) -> str:
        return str(self.body["message"])


class NoWebhooks:
    """For tests that configure none."""

    async def ask(self, webhook: Json, review: Json) -> Json:
        raise AssertionError(webhook["name"])


class Webhooks:
    """Answers reviews in the process, by the webhook's name; and keeps them."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.reviews: list[tuple[str, Json]] = []

    async def ask(self, webhook: Json, review: Json) -> Json:
        request = review["request"]
        self.reviews.append((webhook["name"], request))
        answer = self.answers[webhook["name"]]
        return {"response": {"uid": request["uid"]} | (answer(request) if callable(answer) else answer)}


class Watched:
    """An open watch."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self) -> Json:
        """The next event."""
        event: Json = json.loads(await self._answer.content.readline())
        return event

    async def until_end(self) -> list[Json]:
        """All that are left, when the server has ended it."""
        return [json.loads(line) for line in (await self._answer.content.read()).splitlines()]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
                        ) -> None:  # fmt: skip
        self._answer.close()


class Client:
    """Asks a server; refusals are answers."""

    def __init__(self, session: aiohttp.ClientSession, registry: Registry) -> None:
        self.session = session
        self.registry = registry

    async def ask(
        self, method: str, path: str, body: Any = None, kind: str = "", accept: str = "", **query: str
    ) -> Answer:
        headers = {"Content-Type": kind or "application/json"} | ({"Accept": accept} if accept else {})
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with self.session.request(method, path, data=data, headers=headers, params=query) as answer:
            raw = await answer.read()
            parsed = json.loads(raw) if answer.content_type.endswith("json") else raw
            return Answer(answer.status, parsed, dict(answer.headers), answer.headers.getall("Warning", []))

    async def get(self, path: str, accept: str = "", **query: str) -> Answer:
        return await self.ask("GET", path, accept=accept, **query)

    async def create(self, path: str, body: Any, **query: str) -> Answer:
        return await self.ask("POST", path, body, **query)

    async def patch(self, path: str, body: Any, kind: str = MERGE, **query: str) -> Answer:
        return await self.ask("PATCH", path, body, kind, **query)

    async def delete(self, path: str, body: Any = None, **query: str) -> Answer:
        return await self.ask("DELETE", path, body, **query)

    async def watch(self, path: str, **query: str) -> Watched:
        return Watched(await self.session.get(path, params={"watch": "true", **query}))

    async def gone(self, path: str) -> None:
        """Until there is no such object."""
        collection, _, name = path.rpartition("/")
        async with await self.watch(collection, fieldSelector=f"metadata.name={name}") as watched:
            if (await self.get(path)).status == 404:
                return
            while (await watched.next())["type"] != "DELETED":
                pass


@asynccontextmanager
async def serving(
    caller: Any = None, access: PodAccess | None = None, *, bookmark_s: float = 30, **more: Any
) -> AsyncIterator[Client]:
    """A server, with its garbage collector, while the block runs."""
    registry = Registry(caller or NoWebhooks(), **more)
    runner = web.AppRunner(application(registry, access, bookmark_s=bookmark_s), shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collecting = asyncio.create_task(registry.run())
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
            yield Client(session, registry)
    finally:
        collecting.cancel()
        with suppress(asyncio.CancelledError):
            await collecting
        await runner.cleanup()


def config_map(name: str, labels: Json | None = None, **data: str) -> Json:
    meta: Json = {"name": name} | ({"labels": labels} if labels else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def secret(name: str, **fields: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}} | fields


def pod(name: str, **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]} | spec,
    }


def service(name: str, **spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]} | spec}


def definition(**version: Any) -> Json:
    """Of things.t.example, with a status and a printer column."""
    spec = {"type": "object", "properties": {"size": {"type": "integer", "default": 1}, "color": {"type": "string"}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": {
        "type": "object", "properties": {"seen": {"type": "integer"}}}}}  # fmt: skip
    served = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
              "subresources": {"status": {}},
              "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]}  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.t.example"},
        "spec": {
            "group": "t.example",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"]},
            "versions": [served | version],
        },
    }


def thing(name: str, **spec: Any) -> Json:
    return {"apiVersion": "t.example/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec}


THINGS = "/apis/t.example/v1/namespaces/default/things"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def refused(problem: ApiProblem) -> tuple[int, str]:
    return problem.code, problem.message
