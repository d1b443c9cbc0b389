"""`/healthz`, `/readyz` and `/metrics` of an operator role, for kubelet and Prometheus.

The one rule: a role is dead only when a restart would help. A stale watch kills it while the API server answers a fresh
request; an API server that is away does not, because what the role remembers is then all there is.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import aiohttp
from aiohttp import web

from handfast_operator import metrics
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_sidecar.observe.metrics import Registry

log = logging.getLogger(__name__)

STALE_S: Final = 150.0
"""Seconds without a sign of life after which a watch is stuck: twice its own read time-out, and a little."""
Reasons = Callable[[], Sequence[str]]


class Following(Protocol):
    """What tells when the API server last said something: a reflector."""

    @property
    def fresh_at(self) -> float: ...


class Watched(Following, Protocol):
    """A watch that may be stuck."""

    @property
    def name(self) -> str: ...
    @property
    def answered_at(self) -> float: ...


class Health:
    """What is asked by the three paths."""

    def __init__(
        self,
        registry: Registry,
        ready: Reasons,
        *,
        client: ApiClient | None = None,
        follows: Sequence[Watched] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        silence = metrics.WATCH_SILENCE.of(registry)
        for each in follows:
            silence.labels(each.name).set_function(_silence(each, clock))
        self.registry = registry
        self._ready = ready
        self._client = client
        self._follows = follows
        self._clock = clock

    def not_ready(self) -> Sequence[str]:
        """Why not; empty: it is."""
        return self._ready()

    async def dead(self) -> str:
        """Why a restart would help; empty: it would not."""
        # A refusal is an answer: no restart brings back a permission or a custom resource.
        stale = [each for each in self._follows if self._clock() - each.answered_at > STALE_S]
        if not stale or self._client is None:
            return ""
        try:
            await self._client.get("/version")
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError):
            return ""
        return f"{len(stale)} watches have been silent for more than {STALE_S:.0f} s while the API server answers"


@asynccontextmanager
async def serve_health(health: Health, port: int, extra: Sequence[web.RouteDef] = ()) -> AsyncIterator[None]:
    """Serve the three paths, and `extra` ones, while the context lasts."""

    async def healthz(_request: web.Request) -> web.Response:
        reason = await health.dead()
        if reason:
            log.error("not alive", extra={"reason": reason})
        return web.Response(status=500 if reason else 200, text=(reason or "ok") + "\n")

    async def readyz(_request: web.Request) -> web.Response:
        reasons = health.not_ready()
        return web.Response(status=503 if reasons else 200, text="\n".join(reasons or ["ok"]) + "\n")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(text=health.registry.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    application = web.Application()
    application.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics), *extra]
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()


def _silence(watch: Watched, clock: Callable[[], float]) -> Callable[[], float]:
    return lambda: clock() - watch.fresh_at


def waiting_for(**synced: Any) -> list[str]:
    """Sentences about stores that have no first list yet: `waiting_for(pods=store)`."""
    return [f"the list of {name} is not complete yet" for name, store in synced.items() if not store.synced]
