"""Peers that have a certificate and mean harm: the tunnel ends, and nothing of it stays."""

import asyncio
import base64
import json

import pytest

from handfast_sidecar.tunnel.frames import Flag, FrameType
from support.mesh import mesh


async def test_a_peer_that_does_not_read_the_answers_to_its_pings_loses_its_tunnel() -> None:
    async with mesh(1) as (client, server):
        tunnel = await client.pool.get(client.endpoint)
        await tunnel.decided.wait()
        [attacked] = server.mesh.registry
        attacked._blocked = True  # as when the peer's socket is full
        for _ in range(3):
            for _ in range(60_000):
                tunnel.mux.ping(1)
            tunnel._flush()
            await asyncio.sleep(0.05)
        assert await asyncio.wait_for(server.closed.get(), 5) == "protocol_error"


@pytest.mark.parametrize("name", [None, 0, [], {}, False])
async def test_a_hello_whose_name_is_no_text_ends_the_tunnel(name: object) -> None:
    async with mesh(1) as (client, server):
        tunnel = await client.pool.get(client.endpoint)
        line = json.dumps({"hello": 1, "version": "1", "tunnel": name}).encode() + b"\n"
        tunnel.mux.streams[1].send(line)
        assert await asyncio.wait_for(server.closed.get(), 5) == "protocol_error"


async def test_a_peer_that_introduces_itself_again_and_again_leaves_no_names_behind() -> None:
    async with mesh(1) as (client, server):
        tunnel = await client.pool.get(client.endpoint)
        for number in range(100):
            name = base64.b64encode(number.to_bytes(32, "big")).decode()
            line = json.dumps({"hello": 1, "version": "1", "tunnel": name}).encode() + b"\n"
            tunnel.mux.streams[1].send(line)
        tunnel.mux.control(FrameType.PING, Flag.SYN, 0, 1)
        await asyncio.sleep(0.2)
        tunnel.close("done")
        await asyncio.wait_for(server.closed.get(), 5)
        assert not server.mesh.registry._by_id
