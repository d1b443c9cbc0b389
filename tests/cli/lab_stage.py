"""The lab's API server with our custom resources, somebody whom it may forbid things, and verbs run against it."""

import argparse
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from handfast_lab.api.object_requests import PodAccess
from handfast_lab.api.registry import Registry
from handfast_lab.api.server import application
from handfast_operator.cluster.access import Access
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import NAMESPACES

Json = dict[str, Any]
CRDS = Path(__file__).parent.parent.parent / "crds"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class NoWebhooks:
    """None is configured."""

    async def ask(self, webhook: Json, _review: Json) -> Json:
        raise AssertionError(webhook["name"])


@dataclass
class Api:
    """The server."""

    registry: Registry = field(default_factory=lambda: Registry(NoWebhooks()))
    forbidden: list[tuple[str, str]] = field(default_factory=list)
    """Method and end of the path."""

    @web.middleware
    async def guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if any(request.method == method and request.path.endswith(path) for method, path in self.forbidden):
            status = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": 'User "jane" cannot do that'}
            return web.json_response(status, status=403)
        return await handler(request)

    @asynccontextmanager
    async def serving(
        self, definitions: Sequence[str], namespaces: Sequence[str], access: PodAccess | None = None
    ) -> AsyncIterator[ApiClient]:
        """A client of it, as the service account shop/jane."""
        app = application(self.registry, access)
        app.middlewares.append(self.guard)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            token = self.registry.tokens.issue("shop", "jane")
            found = Access(f"http://127.0.0.1:{runner.addresses[0][1]}", None, token=token)
            async with ApiClient.connect(found) as client:
                for name in definitions:
                    await client.create(DEFINITIONS, yaml.safe_load((CRDS / f"{name}.yaml").read_text()))
                for name in namespaces:
                    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                    await client.create(NAMESPACES.path, body)
                yield client
        finally:
            await runner.cleanup()


def arguments(verb: Any, *words: str, namespace: str = "shop", output: str = "table") -> argparse.Namespace:
    """As the framework gives them to a verb."""
    parser = argparse.ArgumentParser()
    verb.arguments(parser)
    args = parser.parse_args(words)
    args.namespace, args.output, args.operator_namespace = namespace, output, "handfast-system"
    return args


async def run(verb: Any, client: ApiClient, *words: str, namespace: str = "shop", output: str = "table") -> int:
    """As the framework runs a verb; the exit code."""
    code: int = await verb.run(arguments(verb, *words, namespace=namespace, output=output), client)
    return code


def read(text: str) -> Json:
    """What `-o json` printed."""
    found: Json = json.loads(text)
    return found
