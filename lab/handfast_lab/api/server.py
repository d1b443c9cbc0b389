"""The API server over HTTP: a test double of kube-apiserver that answers what Handfast, kubectl and tests ask.

Not checked: who asks (the user of a token that the lab issued is known to webhooks, anybody else is the administrator).
The one rule: whatever is refused is refused with a Status object in the real server's words.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from handfast_lab.api import discovery
from handfast_lab.api.collection_requests import Collections
from handfast_lab.api.deletion import timestamp
from handfast_lab.api.object_requests import Objects, PodAccess
from handfast_lab.api.outages import PATH as OUTAGES
from handfast_lab.api.outages import Outages
from handfast_lab.api.problems import ApiProblem, bad_request
from handfast_lab.api.registry import Registry
from handfast_lab.api.replies import bodies
from handfast_lab.api.requests import target

log = logging.getLogger(__name__)

Json = dict[str, Any]
BOOKMARK_S: Final = 30.0
"""Seconds of silence in a watch before a bookmark; clients give up after about a minute without a byte."""
_MAX_BODY: Final = 8 << 20
_AGGREGATED: Final = "APIGroupDiscoveryList"
_AUTHORIZATION: Final = "/apis/authorization.k8s.io/v1"
_ALL: Final = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
_REVIEWS: Final[dict[str, Json]] = {
    f"{_AUTHORIZATION}/selfsubjectaccessreviews": {"status": {"allowed": True, "reason": "the lab allows everything"}},
    f"{_AUTHORIZATION}/selfsubjectrulesreviews": {
        "status": {"resourceRules": [_ALL], "nonResourceRules": [], "incomplete": False}
    },
}
"""Kinds that are asked, not stored."""
_WHO_AM_I: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def application(
    registry: Registry, access: PodAccess | None = None, *, bookmark_s: float = BOOKMARK_S
) -> web.Application:
    """Of a registry that somebody else runs; TLS and sockets are the caller's affair.

    `access`: who runs commands, reads logs and dials ports in pods; without one, all three are not found.
    """
    server = _Server(registry, access, bookmark_s)
    app = web.Application(client_max_size=_MAX_BODY, middlewares=[_refusals])
    app.add_routes([web.route("*", "/{path:.*}", server.answer)])
    app.on_shutdown.append(server.end)
    return app


class _Server:
    def __init__(self, registry: Registry, access: PodAccess | None, bookmark_s: float) -> None:
        self._registry = registry
        self._objects = Objects(registry, access)
        self._collections = Collections(registry, bookmark_s)
        self._running: dict[asyncio.Task[Any], web.Request] = {}
        self._outages = Outages(registry, self._cut)

    async def end(self, _: web.Application) -> None:
        """Watches and logs last for minutes: nobody waits for them."""
        for task in self._running:
            task.cancel()

    def _cut(self) -> None:
        for task, request in self._running.items():
            task.cancel()
            if request.transport is not None:
                request.transport.abort()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - aiohttp runs each request in one
        if request.path.startswith(OUTAGES):
            self._outages.act(request.path)
            return web.Response(text="ok")
        if self._outages.away and request.transport is not None:
            request.transport.abort()
            return web.Response(status=503)
        self._running[task] = request
        try:
            return await self._answer(request)
        finally:
            del self._running[task]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        if path in ("/healthz", "/readyz", "/livez"):
            return web.Response(text="ok")
        document = self._document(path, request.headers.get("Accept", ""))
        if document is not None:
            return document
        if not path.startswith(("/api/v1/", "/apis/")):
            raise ApiProblem(404, "NotFound", "the server could not find the requested resource")
        if request.method == "POST" and (review := self._review(path, request)) is not None:
            return web.json_response(await bodies(request) | review, status=201)
        found = target(self._registry.resources, path)
        if found.name:
            return await self._objects.answer(request, found)
        return await self._collections.answer(request, found)

    def _review(self, path: str, request: web.Request) -> Json | None:
        """The answer to a kind that is asked and not stored; None: it is none."""
        if path == _WHO_AM_I:
            user = self._registry.tokens.user(request.headers.get("Authorization", ""))
            created = {"creationTimestamp": timestamp(datetime.now(UTC))}
            return {"metadata": created, "status": {"userInfo": {"username": user}}}
        return _REVIEWS.get(path)

    def _document(self, path: str, accept: str) -> web.Response | None:
        """What there is, rather than what is in it."""
        resources = tuple(self._registry.resources)
        whole = _AGGREGATED in accept and "v=v2" in accept
        found: Json | None
        match path:
            case "/version":
                found = discovery.version()
            case "/api" | "/apis" if whole:
                answer = json.dumps(discovery.aggregated(resources, core=path == "/api"))
                return web.Response(body=answer, headers={"Content-Type": discovery.AGGREGATED})
            case "/api":
                found = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
            case "/apis":
                found = discovery.groups(resources)
            case "/openapi/v3":
                found = discovery.openapi_paths(resources)
            case _ if path.startswith("/openapi/v3/"):
                found = discovery.openapi(resources, path.removeprefix("/openapi/v3"))
            case _:
                found = discovery.kinds(resources, path)
        return None if found is None else web.json_response(found)


@web.middleware
async def _refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiProblem as refused:
        problem = refused
    except web.HTTPRequestEntityTooLarge:
        problem = ApiProblem(413, "RequestEntityTooLarge", f"Request entity too large: limit is {_MAX_BODY}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # The lab checks few shapes of built-in kinds: what it stumbles over is most often the client's mistake.
        log.exception("a request was not understood", extra={"method": request.method, "path": request.path})
        problem = bad_request(f"the lab does not understand it: {type(error).__name__}: {error}")
    return web.json_response(problem.status(), status=problem.code)
