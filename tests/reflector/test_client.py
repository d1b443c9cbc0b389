"""The client over real HTTP: what it sends, and what it makes of a refusal."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from handfast_operator.cluster.client import ApiClient, ApiError
from support.api_server import serving, status


class Recorder:
    """Keeps what it is asked, and answers as told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], Any, str]] = []
        self.answer: Callable[[], web.Response] = lambda: web.json_response({})

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, dict(request.query), body, request.headers.get("Content-Type", "")))
        return self.answer()


@asynccontextmanager
async def recording() -> AsyncIterator[tuple[Recorder, ApiClient]]:
    recorder = Recorder()
    async with serving([web.route("*", "/{path:.*}", recorder.take)]) as client:
        yield recorder, client


async def test_every_write_names_its_writer() -> None:
    async with recording() as (recorder, client):
        await client.create("/things", {"a": 1})
        await client.replace("/things/x", {"a": 2})
        await client.patch("/things/x", {"a": 3})
    assert [(verb, query["fieldManager"], body) for verb, query, body, _ in recorder.asked] == [
        ("POST", "handfast-controller", {"a": 1}),
        ("PUT", "handfast-controller", {"a": 2}),
        ("PATCH", "handfast-controller", {"a": 3}),
    ]
    assert recorder.asked[2][3] == "application/merge-patch+json"


async def test_a_path_that_has_a_query_keeps_it_beside_the_parameters_of_a_call() -> None:
    selected = "/things?labelSelector=app%3Da%26b"
    async with recording() as (recorder, client):
        await client.get(selected)
        await client.get(selected, {"limit": "1"})
        await client.text(selected, {"limit": "2"})
        await client.create(selected, {})
        assert [event async for event in client.watch(selected, {"limit": "3"})] == []
    selector = {"labelSelector": "app=a&b"}
    assert [query for _, query, _, _ in recorder.asked] == [
        selector,
        selector | {"limit": "1"},
        selector | {"limit": "2"},
        selector | {"fieldManager": "handfast-controller"},
        selector | {"limit": "3", "watch": "true"},
    ]


async def test_a_refusal_carries_the_servers_own_sentence() -> None:
    async with recording() as (recorder, client):
        recorder.answer = lambda: status(409, "AlreadyExists", 'secrets "x" already exists')
        with pytest.raises(ApiError, match='secrets "x" already exists') as caught:
            await client.create("/things", {})
    assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")


@pytest.mark.parametrize("text", ["404 page not found", "[]", '"no"', ""])
async def test_a_refusal_that_is_no_status_object_is_still_told(text: str) -> None:
    async with recording() as (recorder, client):
        recorder.answer = lambda: web.Response(status=503, text=text)
        with pytest.raises(ApiError) as caught:
            await client.get("/things")
    assert caught.value.status == 503
    assert caught.value.message == (text or "no message")


@pytest.mark.parametrize(
    ("said", "seconds"), [("3", 3), ("", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("-5", 0), ("99999999999", 0)]
)
async def test_a_refusal_says_for_how_long_the_server_wants_to_be_left_alone(said: str, seconds: int) -> None:
    async with recording() as (recorder, client):
        recorder.answer = lambda: web.Response(status=429, text="too many", headers={"Retry-After": said})
        with pytest.raises(ApiError) as caught:
            await client.create("/things", {})
    assert caught.value.retry_after_s == seconds


async def test_deleting_what_is_gone_is_no_error_and_a_uid_is_a_condition() -> None:
    async with recording() as (recorder, client):
        recorder.answer = lambda: status(404, "NotFound", "gone")
        await client.delete("/things/x", uid="u-1")
    assert recorder.asked[0][2]["preconditions"] == {"uid": "u-1"}


async def test_a_call_that_is_never_answered_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handfast_operator.cluster.client.TIMEOUT_S", 0.05)
    never = asyncio.Event()

    async def silent(_request: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    async with serving([web.get("/things", silent)]) as client:
        with pytest.raises(TimeoutError):
            await client.get("/things")
        never.set()
