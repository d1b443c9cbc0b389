"""More than one tunnel to a pod: opened when the one there is saturated, and closed when nobody needs it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.tunnel import connection
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.pool import LANES
from support.mesh import Client, Server, application, echo, mesh

FAR_FUTURE = 1e9


@asynccontextmanager
async def calling() -> AsyncIterator[tuple[Client, Server, Callable[[bytes], Awaitable[None]]]]:
    """A mesh, and a way to open a connection over which an answer has come; all end with the block."""
    async with application(echo) as port, mesh(port) as (client, server):
        writers = []

        async def call(text: bytes) -> None:
            reader, writer = await client.dial()
            writers.append(writer)
            writer.write(text)
            assert await asyncio.wait_for(reader.readexactly(len(text)), 10) == text

        yield client, server, call
        for writer in writers:
            writer.close()
            await client.ended.next()


def tunnels(client: Client) -> list[Tunnel]:
    return [tunnel for _key, tunnel in sorted(client.pool._current.items(), key=lambda item: item[0][3])]


async def relief(client: Client) -> None:
    """Until a further tunnel that is being dialled is there, or could not be had."""
    await asyncio.gather(*client.pool._dials.values(), return_exceptions=True)


async def test_beside_a_saturated_tunnel_a_second_one_takes_new_connections() -> None:
    async with calling() as (client, _server, call):
        await call(b"one")
        [first] = tunnels(client)
        first._busy = True
        await call(b"two")
        assert first.open_streams == 2, "nobody waits for the second tunnel"
        await relief(client)
        await call(b"three")
        [_first, second] = tunnels(client)
        assert (first.open_streams, second.open_streams) == (2, 1)
        assert client.pool.open_streams(client.endpoint) == 3


async def test_there_are_never_more_lanes_than_are_allowed() -> None:
    async with calling() as (client, _server, call):
        await call(b"0")
        for number in range(2 * LANES):
            for tunnel in tunnels(client):
                tunnel._busy = True
            await call(b"%d" % number)
            await relief(client)
        assert len(tunnels(client)) == LANES
        assert min(tunnel.open_streams for tunnel in tunnels(client)) >= 1, "the least loaded one is chosen"


async def test_a_lane_that_nobody_uses_closes_and_the_others_stay() -> None:
    async with calling() as (client, _server, call):
        await call(b"one")
        [first] = tunnels(client)
        first._busy = True
        await call(b"two")
        await relief(client)
        client.pool.sweep(FAR_FUTURE)
        assert await asyncio.wait_for(client.closed.get(), 10) == "drained"
        assert tunnels(client) == [first]


async def test_a_further_tunnel_that_cannot_be_had_is_not_tried_at_every_connection() -> None:
    async with calling() as (client, server, call):
        await call(b"one")
        [first] = tunnels(client)
        first._busy = True
        server.listener.close()
        for _ in range(3):
            await call(b"more")
            await relief(client)
        assert client.failures == ["unreachable"]
        assert first.open_streams == 4


async def test_a_server_that_waits_for_its_socket_says_so_and_says_when_it_is_over() -> None:
    async with calling() as (client, server, call):
        await call(b"one")
        [ours], [theirs] = tunnels(client), list(server.mesh.registry)
        for blocked_s in (connection.TICK_S, 0.0):
            theirs._carrier._blocked_s = blocked_s
            theirs._measure(0.0)
            await call(b"the word came before this")
            assert ours.saturated is bool(blocked_s)


async def test_the_first_dial_of_a_pod_still_fails_for_who_asked() -> None:
    async with mesh(1) as (client, server):
        server.listener.close()
        with pytest.raises(HandshakeFailed):
            await client.pool.get(client.endpoint)
