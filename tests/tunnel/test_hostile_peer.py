"""Peers that have a certificate and mean harm: the tunnel ends, and nothing of it stays."""

import asyncio
import base64
import json
from dataclasses import replace

import pytest

from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.control import ControlSink
from handfast_sidecar.tunnel.frames import Flag, FrameType
from handfast_sidecar.tunnel.hello import TunnelHello
from handfast_sidecar.versions import Versions
from support.mesh import application, echo, is_reset, mesh


async def test_a_peer_that_does_not_read_the_answers_to_its_pings_loses_its_tunnel() -> None:
    async with mesh(1) as (client, server):
        tunnel = await client.pool.get(client.endpoint)
        await tunnel.decided.wait()
        [attacked] = server.mesh.registry
        attacked._carrier._blocked = True  # as when the peer's socket is full
        for _ in range(3):
            for _ in range(60_000):
                tunnel.mux.ping(1)
            tunnel._carrier._flush()
            await asyncio.sleep(0.05)
        assert await asyncio.wait_for(server.closed.get(), 5) == "protocol_error"


@pytest.mark.parametrize("name", [None, 0, [], {}, False])
async def test_a_hello_whose_name_is_no_text_ends_the_tunnel(name: object) -> None:
    async with mesh(1) as (client, server):
        tunnel = await client.pool.get(client.endpoint)
        line = json.dumps({"hello": 1, "version": "1", "tunnel": name}).encode() + b"\n"
        tunnel.mux.streams[1].send(line)
        assert await asyncio.wait_for(server.closed.get(), 5) == "protocol_error"


async def test_without_a_version_in_common_both_sides_say_so_and_nothing_is_carried(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    answers: list[bytes] = []

    class Later(ControlSink):
        def data(self, view: memoryview) -> None:
            answers.append(bytes(view))

    def introduce(tunnel: Tunnel, _renews: str = "") -> None:
        tunnel.mux.open(b'{"hello":2,"upTo":4,"version":"9.0.0"}\n', lambda stream: Later(stream, tunnel._said))

    monkeypatch.setattr(Tunnel, "introduce", introduce)
    async with mesh(1) as (client, server):
        await client.pool.get(client.endpoint)
        assert await asyncio.wait_for(server.closed.get(), 5) == "no_common_version"
        await asyncio.wait_for(client.closed.get(), 5)
        assert json.loads(answers[0])["hello"] == 1, "so that the other side can say who is too old"
        assert server.ended.connections.empty()
    [line] = [each.__dict__ for each in caplog.records if each.__dict__.get("reason") == "no_common_version"]
    assert "this sidecar is too old: restart this pod" in line["detail"]
    assert line["peer_version"] == "9.0.0"


@pytest.mark.parametrize("versions", [Versions(1, 1), Versions(1, 3)])
async def test_a_server_that_speaks_more_versions_than_ours_is_spoken_to(
    monkeypatch: pytest.MonkeyPatch, versions: Versions
) -> None:
    answer = TunnelHello.encode
    monkeypatch.setattr(TunnelHello, "encode", lambda line: answer(replace(line, version="9.0.0", speaks=versions)))
    async with application(echo) as port, mesh(port) as (client, _server):
        reader, writer = await client.dial()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        assert (await client.pool.get(client.endpoint)).peer_release == "9.0.0"


async def test_a_server_without_a_version_in_common_ends_connections_with_that_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    introduce, encode, introduced = Tunnel.introduce, TunnelHello.encode, asyncio.Event()

    def client_side(tunnel: Tunnel, renews: str = "") -> None:
        introduce(tunnel, renews)
        introduced.set()

    def server_side(line: TunnelHello) -> bytes:
        return encode(replace(line, speaks=Versions(2, 3)) if introduced.is_set() else line)

    monkeypatch.setattr(Tunnel, "introduce", client_side)
    monkeypatch.setattr(TunnelHello, "encode", server_side)
    async with application(echo) as port, mesh(port) as (client, _server):
        assert await is_reset(client.listener.port)
        ended = await client.ended.next()
        assert (ended.reason, "restart this pod" in ended.detail) == ("no_common_version", True)


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
