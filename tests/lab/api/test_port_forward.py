"""Ports of pods over WebSocket: kubelet's protocol by hand, and our own client's GET over it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from handfast_lab.api.port_forward import PROTOCOL
from handfast_operator.cluster import port_forward
from handfast_operator.cluster.access import Access
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.http_answer import Answer
from handfast_operator.cluster.port_forward import ForwardFailed
from lab.api.stage import CORE, Client, pod, serving
from lab.api.test_exec import Processes
from support.ports import free_port

FORWARD = f"{CORE}/pods/one/portforward"


@pytest.fixture
async def api() -> AsyncIterator[Client]:
    async with serving(access=Processes()) as client:
        await client.create(f"{CORE}/pods", pod("one", nodeName="lab"))
        yield client


@pytest.fixture
async def ours(api: Client) -> AsyncIterator[ApiClient]:
    async with ApiClient.connect(Access(str(api.session._base_url).rstrip("/"), None)) as client:
        yield client


@asynccontextmanager
async def server(answer: bytes, *, closes: bool = True) -> AsyncIterator[int]:
    """Answers whatever it hears; its port."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if not closes:
            await reader.read()
        writer.close()

    listening = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def test_each_channel_begins_with_its_port_and_then_carries_bytes_both_ways(api: Client) -> None:
    async with (
        server(b"pong") as port,
        api.session.ws_connect(FORWARD, params={"ports": str(port)}, protocols=[PROTOCOL]) as socket,
    ):
        assert [await socket.receive_bytes(), await socket.receive_bytes()] == [
            bytes([channel]) + port.to_bytes(2, "little") for channel in (0, 1)
        ]
        await socket.send_bytes(b"\0ping\r\n\r\n")
        assert await socket.receive_bytes() == b"\0pong"
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE


async def test_a_port_where_nobody_listens_is_told_on_the_channel_of_errors(ours: ApiClient) -> None:
    with pytest.raises(ForwardFailed, match=r"port \d+ of pod default/one is not reached: \[Errno 111\]"):
        await port_forward.get(ours, "default", "one", free_port(), "/evidence")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
    ],
    ids=["length", "chunks", "until the end"],
)
async def test_a_get_reads_an_answer_to_its_end(ours: ApiClient, answer: bytes) -> None:
    async with server(answer) as port:
        assert await port_forward.get(ours, "default", "one", port, "/") == Answer(200, b"hello")


async def test_an_answer_of_known_length_ends_before_its_server_does(ours: ApiClient) -> None:
    async with server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", closes=False) as port:
        assert (await port_forward.get(ours, "default", "one", port, "/")).status == 404


async def test_a_part_of_an_answer_is_no_answer(ours: ApiClient) -> None:
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello") as port:
        with pytest.raises(ForwardFailed, match="a part of one"):
            await port_forward.get(ours, "default", "one", port, "/")


async def test_a_pod_that_is_not_there_is_the_api_servers_not_found(ours: ApiClient) -> None:
    with pytest.raises(ApiError) as caught:
        await port_forward.get(ours, "default", "two", 80, "/")
    assert caught.value.status == 404


async def test_the_tunnelled_protocol_of_kubectl_is_refused_by_name(api: Client) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await api.session.ws_connect(FORWARD, params={"ports": "80"}, protocols=["SPDY/3.1+portforward.k8s.io"])
    assert caught.value.status == 403
