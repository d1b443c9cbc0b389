"""Applications that read slower than their peers send: what waits for them is bounded, and only who exceeds it pays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from handfast_sidecar.traffic import backlog
from handfast_sidecar.traffic.backlog import Backlog
from handfast_sidecar.traffic.relay import CHUNK_BYTES, Relay
from handfast_sidecar.tunnel.stream import BULK_WINDOW, Stream
from support.mesh import Client, Server, application, echo, mesh

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SLOW, QUICK = b"s", b"q"
FIRST_STREAM = 3
"""The first application connection's: the control stream was before it."""
KIB, MIB = 1024, 1024 * 1024


def test_one_alone_may_hold_all_there_is() -> None:
    pod = Backlog(limit=100)
    assert pod.take(60, 0)
    assert pod.take(40, 60)
    assert not pod.take(1, 100)
    assert pod.held == 100


def test_past_the_limit_only_those_under_their_share_may_hold_more() -> None:
    pod = Backlog(limit=100)
    assert pod.take(90, 0)
    assert pod.take(50, 0), "the second's share is a half, whatever the first holds"
    assert not pod.take(1, 50)
    assert not pod.take(1, 90)


def test_who_is_refused_is_not_counted() -> None:
    pod = Backlog(limit=100)
    assert pod.take(100, 0)
    assert not pod.take(51, 0)
    assert pod.held == 100
    assert pod.take(50, 0), "there are two, not three"


def test_the_share_shrinks_with_those_who_hold_something() -> None:
    pod = Backlog(limit=120)
    for _ in range(3):
        assert pod.take(40, 0)
    assert not pod.take(31, 0)
    assert pod.take(30, 0)


def test_what_was_handed_on_may_be_held_again() -> None:
    pod = Backlog(limit=100)
    assert pod.take(100, 0)
    pod.give(30, 70)
    assert pod.take(30, 70)
    assert not pod.take(1, 100)


def test_the_counts_return_to_zero() -> None:
    pod = Backlog(limit=100)
    for _ in range(3):
        assert pod.take(20, 0)
        assert pod.take(20, 0)
        pod.give(10, 10)
        pod.give(10, 0)
        pod.give(20, 0)
        pod.give(0, 0)
    assert pod.held == 0
    assert pod.take(100, 0), "all of it is there for one"


class Applications:
    """One connection that reads only from `read_on` on and then answers with how much it was, and quick ones."""

    def __init__(self) -> None:
        self.read_on = asyncio.Event()
        self.handlers: list[asyncio.Task[object]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self.handlers.append(handler)
        try:
            kind = await reader.readexactly(1)
            writer.write(kind)
            if kind == QUICK:
                await echo(reader, writer)
            else:
                await self.read_on.wait()
                writer.write(b"%d" % len(await reader.read()))
        except ConnectionError:
            pass
        writer.close()


@dataclass
class Scene:
    """Two connections on one tunnel: to an application that does not read until it is told, and to one that echoes."""

    apps: Applications
    client: Client
    server: Server
    slow: Streams
    quick: Streams

    async def ping(self) -> None:
        """There and back beside the slow one: what was sent before has then been received."""
        self.quick[1].write(b"ping")
        assert await asyncio.wait_for(self.quick[0].readexactly(4), 10) == b"ping"

    def both_sides_of_the_slow_one(self) -> tuple[Relay, Stream]:
        """The server's relay, and the client's stream."""
        tunnel = self.client.pool.ready(self.client.endpoint)
        assert tunnel is not None
        stream = tunnel.mux.streams[FIRST_STREAM]
        [relay] = [
            each for each in self.server.inbound.relays if isinstance(each, Relay) and each.stream.id == stream.id
        ]
        return relay, stream


@asynccontextmanager
async def scene(monkeypatch: pytest.MonkeyPatch, limit: int = backlog.MAX_HELD_BYTES) -> AsyncIterator[Scene]:
    """The two connections, in a pod that may hold so much."""
    monkeypatch.setattr(backlog, "POD", Backlog(limit))
    apps = Applications()
    async with application(apps.serve) as port, mesh(port) as (client, server):
        slow, quick = await connect(client, SLOW), await connect(client, QUICK)
        try:
            yield Scene(apps, client, server, slow, quick)
        finally:
            apps.read_on.set()
            for _reader, writer in (slow, quick):
                writer.transport.abort()
            await asyncio.gather(*apps.handlers)


async def connect(client: Client, kind: bytes) -> Streams:
    """A connection to an application of this kind, which has accepted it."""
    reader, writer = await client.dial()
    writer.write(kind)
    assert await reader.readexactly(1) == kind
    return reader, writer


async def test_a_slow_application_among_few_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as now:
        reader, writer = now.slow
        writer.write(bytes(24 * MIB))
        writer.write_eof()
        while not backlog.POD.held:
            await now.ping()
        for _ in range(100):
            await now.ping()
        assert 0 < backlog.POD.held <= BULK_WINDOW
        now.apps.read_on.set()
        assert await reader.read() == b"%d" % (24 * MIB)
        assert backlog.POD.held == 0


async def test_who_makes_us_hold_too_much_is_ended_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch, limit=64 * KIB) as now:
        reader, writer = now.slow
        writer.write(bytes(24 * MIB))
        assert (await now.server.ended.next()).reason == "out_of_memory"
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert (await now.client.ended.next()).reason == "peer_aborted"
        await now.ping()
        assert backlog.POD.held == 0
        assert now.server.closed.empty()


async def test_bytes_that_come_one_at_a_time_are_kept_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as now:
        (holding, stream), (reader, writer) = now.both_sides_of_the_slow_one(), now.slow
        sent, chunk, crumbs = 0, 16 * KIB, 20_000
        while holding._held < 4 * chunk:
            stream.send(bytes(chunk))
            sent += chunk
            await now.ping()
        for _ in range(crumbs):
            stream.send(b".")
        await now.ping()
        assert holding._held >= crumbs
        assert len(holding._queue) <= 2 + holding._held // (CHUNK_BYTES // 2)
        now.apps.read_on.set()
        writer.write_eof()
        assert await reader.read() == b"%d" % (sent + crumbs)
