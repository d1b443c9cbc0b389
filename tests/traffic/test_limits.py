"""What a peer may not do to a tunnel: say nothing, vanish, or take more than its part."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from handfast_sidecar.traffic import mesh_port
from handfast_sidecar.tunnel import connection, mux
from handfast_sidecar.tunnel.handshake import Expectation, secure
from support.mesh import AUTHORITY, CLIENT_ID, HOST, application, echo, identity, is_reset, mesh

TICK_S = 0.05
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Forwarder:
    """A path between two sidecars that can go dark: nothing passes any more, not even an end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lit = asyncio.Event()
        self._lit.set()
        self._writers: list[asyncio.StreamWriter] = []

    def go_dark(self) -> None:
        self._lit.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HOST, self._port)
        self._writers += [writer, far_writer]
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._lit.wait()
                writer.write(data)

    def close(self) -> None:
        self._lit.set()
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def forwarder(port: int) -> AsyncIterator[tuple[Forwarder, int]]:
    """A forwarder to a port of this host, and its own."""
    path = Forwarder(port)
    async with await asyncio.start_server(path.serve, HOST, 0) as server:
        yield path, server.sockets[0].getsockname()[1]
        path.close()


async def ping(streams: Streams) -> None:
    streams[1].write(b"ping")
    assert await asyncio.wait_for(streams[0].readexactly(4), 10) == b"ping"


async def test_a_client_that_never_says_hello_loses_its_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TICK_S", 0.02)
    monkeypatch.setattr(connection, "INTRODUCTION_S", 0.05)
    async with mesh(1) as (_client, server):
        with socket.create_connection((HOST, server.listener.port)) as sock:
            sock.setblocking(False)
            await secure(sock, identity(CLIENT_ID).contexts.client, Expectation(AUTHORITY.trust_domain), server=False)
            assert await asyncio.wait_for(server.closed.get(), 10) == "no_hello"
            assert not len(server.mesh.registry)


async def test_a_client_that_says_hello_in_time_keeps_its_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TICK_S", TICK_S)
    monkeypatch.setattr(connection, "INTRODUCTION_S", TICK_S)
    async with mesh(1) as (client, server):
        tunnel = await client.pool.get(client.endpoint)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.closed.get(), 4 * TICK_S)
        assert tunnel.usable


async def test_a_peer_that_vanishes_is_given_up_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TICK_S", TICK_S)
    app_saw: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await echo(reader, writer)
        except ConnectionResetError as error:
            app_saw.set_result(error)
        else:
            app_saw.set_result(None)

    async with (
        application(serve) as port,
        mesh(port) as (client, server),
        forwarder(server.listener.port) as (path, at),
    ):
        client.pool._mesh_port = at
        reader, writer = await client.dial()
        await ping((reader, writer))
        path.go_dark()
        assert await asyncio.wait_for(client.closed.get(), 10) == "peer_silent"
        assert await asyncio.wait_for(server.closed.get(), 10) == "peer_silent"
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert isinstance(await app_saw, ConnectionResetError)
        assert (await client.ended.next()).reason == "tunnel_closed"
        writer.close()


async def test_an_idle_peer_that_answers_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TICK_S", TICK_S)
    async with application(echo) as port, mesh(port) as (client, _server):
        streams = await client.dial()
        await ping(streams)
        tunnel = await client.pool.get(client.endpoint)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.closed.get(), 10 * TICK_S)
        assert tunnel.mux.pongs > 0
        await ping(streams)
        streams[1].close()


async def test_a_pod_has_no_more_than_its_part_of_the_tunnels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_port, "MAX_TUNNELS_PER_PEER", 2)
    async with application(echo) as port, mesh(port) as (client, server):
        streams = await client.dial()
        await ping(streams)
        second = await client.pool._dial(client.endpoint)
        await second.decided.wait()
        third = await client.pool._dial(client.endpoint)
        assert await asyncio.wait_for(server.failures.get(), 10) == "too_many_tunnels_of_peer"
        await third.decided.wait()
        assert (third.closed, third.accepted, second.usable) == (True, False, True)
        assert client.failures == ["refused_by_peer"]
        assert len(server.mesh.registry) == 2
        await ping(streams)
        streams[1].close()


async def test_another_pod_is_not_counted_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_port, "MAX_TUNNELS_PER_PEER", 1)
    async with mesh(1) as (client, server):
        for uid in ("one", "another"):
            client.who = identity(CLIENT_ID, pod_uid=uid)
            tunnel = await client.pool._dial(client.endpoint)
            await tunnel.decided.wait()
            assert tunnel.accepted
        assert len(server.mesh.registry) == 2


async def test_a_tunnel_that_ended_makes_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_port, "MAX_TUNNELS_PER_PEER", 1)
    async with mesh(1) as (client, server):
        for _ in range(3):
            tunnel = await client.pool._dial(client.endpoint)
            await tunnel.decided.wait()
            assert tunnel.accepted
            tunnel.close("done")
            await asyncio.wait_for(server.closed.get(), 10)
        assert server.failures.empty()


async def test_a_stream_too_many_is_reset_and_the_tunnel_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mux, "MAX_STREAMS", 3)  # the control stream is one of them
    async with application(echo) as port, mesh(port) as (client, server):
        first, second = await client.dial(), await client.dial()
        await ping(first)
        await ping(second)
        tunnel = client.pool.ready(client.endpoint)
        assert await is_reset(client.listener.port)
        await ping(first)
        second[1].close()
        assert (await server.ended.next()).reason == "ok"
        third = await client.dial()
        await ping(third)
        assert client.pool.ready(client.endpoint) is tunnel, "one that ended made room, on the same tunnel"
        for _reader, writer in (first, third):
            writer.close()
