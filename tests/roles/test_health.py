"""What kubelet and Prometheus are told of an operator role."""

from dataclasses import dataclass

import aiohttp
from aiohttp import web

from handfast_operator.cluster.access import Access
from handfast_operator.cluster.client import ApiClient
from handfast_operator.health import STALE_S, Health, serve_health
from handfast_sidecar.observe.metrics import Registry
from support.api_server import serving
from support.ports import free_port


@dataclass
class Watch:
    name: str = "pods"
    fresh_at: float = 0.0
    answered_at: float = 0.0


async def version(_request: web.Request) -> web.Response:
    return web.json_response({"gitVersion": "v1.34.0"})


def health(client: ApiClient, *reasons: str, now: float = 0.0) -> Health:
    return Health(Registry(), lambda: list(reasons), client=client, follows=[Watch(), Watch()], clock=lambda: now)


async def test_a_role_with_fresh_watches_is_alive() -> None:
    async with serving([]) as client:
        assert await health(client, now=STALE_S).dead() == ""


async def test_a_stale_watch_is_death_when_the_api_server_answers() -> None:
    async with serving([web.get("/version", version)]) as client:
        assert "2 watches have been silent" in await health(client, now=STALE_S + 1).dead()


async def test_a_stale_watch_is_no_death_when_the_api_server_is_away() -> None:
    async with ApiClient.connect(Access(f"http://127.0.0.1:{free_port()}", None)) as client:
        assert await health(client, now=STALE_S + 1).dead() == ""


async def test_a_watch_that_is_refused_is_no_death() -> None:
    refused = Watch(answered_at=STALE_S)
    async with serving([web.get("/version", version)]) as client:
        role = Health(Registry(), list, client=client, follows=[refused], clock=lambda: STALE_S + 1)
        assert await role.dead() == ""
        assert 'handfast_watch_silence_seconds{kind="pods"} 151' in role.registry.render()


async def test_the_paths_answer_with_reasons_and_metrics() -> None:
    port = free_port()
    async with (
        serving([]) as client,
        serve_health(health(client, "no list yet"), port),
        aiohttp.ClientSession() as http,
    ):
        async with http.get(f"http://127.0.0.1:{port}/healthz") as alive:
            assert (alive.status, await alive.text()) == (200, "ok\n")
        async with http.get(f"http://127.0.0.1:{port}/readyz") as ready:
            assert (ready.status, await ready.text()) == (503, "no list yet\n")
        async with http.get(f"http://127.0.0.1:{port}/metrics") as metrics:
            assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
