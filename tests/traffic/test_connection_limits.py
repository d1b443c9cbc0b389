"""Limits of a policy, on real sockets: who is refused and with what word, and that it costs nobody else anything."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from OpenSSL import SSL

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import (
    EffectivePolicy,
    Enforcement,
    EnforcementRule,
    ForeignRule,
    Mode,
    ModeRule,
)
from handfast_sidecar.policy.limits import UNLIMITED, Ceiling, Limits, Rate, Share
from support.foreign import ForeignClient, client_context
from support.mesh import (
    AUTHORITY,
    CLIENT_ID,
    HOST,
    Client,
    Server,
    application,
    echo,
    free_port,
    identity,
    is_reset,
    mesh,
)

ORIGIN = "MTLSPolicy shop/orders"
WEB_ID = SpiffeId.parse("spiffe://test.example/ns/web/sa/front")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def ceiling(connections: int) -> Share:
    return Share(connections=Ceiling(connections, ORIGIN))


def rate(per_second: int, burst: int) -> Share:
    return Share(rate=Rate(per_second, burst, ORIGIN))


def limited(
    total: Share = UNLIMITED,
    client: Share = UNLIMITED,
    handshakes: int = 0,
    *,
    audit: bool = False,
    foreign: frozenset[int] = frozenset(),
) -> EffectivePolicy:
    return EffectivePolicy(
        ModeRule(Mode.PERMISSIVE),
        foreign=ForeignRule(foreign, origin=ORIGIN),
        enforcement=EnforcementRule(Enforcement.AUDIT if audit else Enforcement.ENFORCE, ORIGIN),
        limits=Limits(total, client, Rate(handshakes, handshakes, ORIGIN) if handshakes else None),
    )


@asynccontextmanager
async def another(server: Server, app_port: int, who: SpiffeId = WEB_ID) -> AsyncIterator[Client]:
    """A second client's sidecar."""
    client = Client(identity(who, pod_uid="33333333-0000-0000-0000-000000000000"), server, app_port)
    try:
        yield client
    finally:
        client.close()


def stop_the_clock(server: Server) -> None:
    """No bucket is refilled, however slow this machine is."""
    server.inbound.limits._limiter._clock = server.mesh._limit._clock = lambda: 0


async def served(port: int) -> Streams:
    """A connection that an application answers on."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"ping")
    assert await asyncio.wait_for(reader.readexactly(4), 10) == b"ping"
    return reader, writer


async def until_ended(streams: Streams, server: Server) -> None:
    """End a connection, and wait until the server's sidecar has told of it."""
    streams[1].close()
    with suppress(ConnectionError):
        await streams[1].wait_closed()
    assert not (await server.ended.next()).refused


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        (limited(ceiling(1)), "limit_connections"),
        (limited(rate(1, 1)), "limit_rate"),
        (limited(client=ceiling(1)), "limit_client_connections"),
        (limited(client=rate(1, 1)), "limit_client_rate"),
    ],
)
@pytest.mark.parametrize("way", ["by tunnel", "in plaintext"])
async def test_over_a_limit_a_connection_is_reset_and_told_of_by_its_own_word(
    limits: EffectivePolicy, word: str, way: str
) -> None:
    async with application(echo) as port, mesh(port, policy=limits) as (client, server):
        stop_the_clock(server)
        server.plain_destination = (HOST, port)
        listener = client.listener if way == "by tunnel" else server.plain_listener
        first = await served(listener.port)
        assert await is_reset(listener.port)
        ended = await server.ended.next()
        assert (ended.refused, ended.reason, ended.rule) == (True, word, ORIGIN)
        if way == "by tunnel":
            told = await client.ended.next()
            assert (told.refused, told.reason) == (True, "limit")
            assert not client.outbound._choice.health.absent, "a peer that is busy is not a dead one"
            assert client.pool.ready(client.endpoint) is not None
        await until_ended(first, server)


async def test_one_that_ended_makes_room() -> None:
    async with application(echo) as port, mesh(port, policy=limited(ceiling(1))) as (client, server):
        for _ in range(3):
            streams = await served(client.listener.port)
            assert await is_reset(client.listener.port)
            assert (await server.ended.next()).refused
            await until_ended(streams, server)


async def test_a_connection_counts_while_it_dials_and_no_longer_when_that_fails() -> None:
    port = free_port()
    async with mesh(port, policy=limited(ceiling(1))) as (client, server):
        for _ in range(3):
            assert await is_reset(client.listener.port)
            assert (await server.ended.next()).reason == "connection_refused"
        with socket.socket() as full:
            # A full accept queue: the dial neither succeeds nor fails.
            full.bind((HOST, port))
            full.listen(0)
            filler = [socket.socket() for _ in range(4)]
            for each in filler:
                each.setblocking(False)
                each.connect_ex((HOST, port))
            _reader, waiting = await client.dial()
            await asyncio.wait_for(_until(lambda: server.inbound.dials), 10)
            assert await is_reset(client.listener.port)
            assert (await server.ended.next()).reason == "limit_connections"
            waiting.transport.abort()
            for each in filler:
                each.close()


async def _until(true: object) -> None:
    while not true():  # type: ignore[operator]  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)


async def test_a_flood_of_one_client_leaves_another_all_of_its_connections() -> None:
    policy = limited(Share(Ceiling(20, ORIGIN), Rate(1, 25, ORIGIN)), ceiling(10))
    async with (
        application(echo) as port,
        mesh(port, policy=policy) as (flood, server),
        another(server, port) as web,
    ):
        stop_the_clock(server)
        held = [await served(flood.listener.port) for _ in range(10)]
        assert all(await asyncio.gather(*(is_reset(flood.listener.port) for _ in range(300))))
        others = [await served(web.listener.port) for _ in range(10)]
        assert await is_reset(web.listener.port)
        words = [await server.ended.next() for _ in range(301)]
        assert {str(each.peer) for each in words[:300]} == {str(CLIENT_ID)}
        assert {each.reason for each in words} == {"limit_client_connections"}
        for streams in (*held, *others):
            streams[1].write(b"pong")
            assert await streams[0].readexactly(4) == b"pong"
            streams[1].close()


async def test_pods_of_one_identity_are_one_client() -> None:
    async with (
        application(echo) as port,
        mesh(port, policy=limited(client=ceiling(1))) as (client, server),
        another(server, port, CLIENT_ID) as sibling,
    ):
        _reader, writer = await served(client.listener.port)
        assert await is_reset(sibling.listener.port)
        writer.close()


async def test_a_limit_that_comes_later_counts_what_is_open_and_ends_nothing() -> None:
    async with application(echo) as port, mesh(port, policy=EffectivePolicy()) as (client, server):
        server.plain_destination = (HOST, port)
        held = [await served(client.listener.port), await served(server.plain_listener.port)]
        server.policy.offer(limited(ceiling(2)), 2)
        assert await is_reset(client.listener.port)
        assert (await server.ended.next()).reason == "limit_connections"
        server.policy.offer(limited(ceiling(1)), 3)
        await until_ended(held.pop(), server)
        assert await is_reset(client.listener.port)
        assert (await server.ended.next()).reason == "limit_connections"
        server.policy.offer(EffectivePolicy(), 4)
        held += [await served(client.listener.port) for _ in range(3)]
        assert not server.inbound.limits.following
        server.policy.offer(limited(ceiling(5)), 5)
        held.append(await served(client.listener.port))
        assert await is_reset(client.listener.port)
        for _reader, writer in held:
            writer.close()


@pytest.mark.parametrize("way", ["by tunnel", "in plaintext"])
async def test_audit_lets_it_pass_and_tells_of_it(way: str) -> None:
    async with application(echo) as port, mesh(port, policy=limited(ceiling(1), audit=True)) as (client, server):
        server.plain_destination = (HOST, port)
        listener = client.listener if way == "by tunnel" else server.plain_listener
        streams = [await served(listener.port) for _ in range(2)]
        for each in streams:
            each[1].close()
        ended = {(each.audited, each.refused) for each in [await server.ended.next(), await server.ended.next()]}
        assert ended == {("", False), ("limit_connections", False)}
        assert [each.audited for each in server.ended.audited] == ["limit_connections"]


async def test_a_stream_over_a_limit_is_told_of_in_a_sentence() -> None:
    async with application(echo) as port, mesh(port, policy=limited(client=ceiling(1))) as (client, server):
        _reader, writer = await served(client.listener.port)
        assert await is_reset(client.listener.port)
        refused = await server.ended.next()
        assert refused.detail == f"{ORIGIN} lets a client have 1 connections at a time: {CLIENT_ID} has 1"
        writer.close()


async def test_handshakes_over_the_limit_cost_no_tls_and_leave_tunnels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with application(echo) as port, mesh(port, policy=limited(handshakes=1)) as (client, server):
        stop_the_clock(server)
        reader, writer = await served(client.listener.port)
        begun: list[socket.socket] = []
        monkeypatch.setattr(
            "handfast_sidecar.traffic.mesh_port.secure", lambda sock, *_args, **_named: begun.append(sock)
        )
        assert all(await asyncio.gather(*(is_reset(server.listener.port) for _ in range(20))))
        assert {await server.failures.get() for _ in range(20)} == {"limit_handshakes"}
        assert not begun
        writer.write(b"more")
        assert await reader.readexactly(4) == b"more"
        writer.close()


async def test_the_slots_of_refused_handshakes_are_given_back() -> None:
    async with mesh(1, policy=limited(handshakes=1)) as (_client, server):
        stop_the_clock(server)
        free = server.listener._free
        with socket.create_connection((HOST, server.listener.port)):
            assert all(await asyncio.gather(*(is_reset(server.listener.port) for _ in range(2 * free))))
            assert server.listener._free == free - 1, "the one that may begin has its slot"


async def test_foreign_clients_are_under_the_same_limits() -> None:
    async with application(echo) as port:
        policy = limited(client=ceiling(1), foreign=frozenset({port}))
        server = Server(identity(SpiffeId.parse("spiffe://test.example/ns/shop/sa/orders")), policy)
        server.plain_destination = (HOST, port)
        curl = AUTHORITY.issue("spiffe://test.example/ns/outside/sa/curl")

        def call() -> ForeignClient:
            client = ForeignClient(server.plain_listener.port, client_context(curl)).handshake()
            assert client.ask(b"hello", 5) == b"hello"
            return client

        first = await asyncio.to_thread(call)
        with pytest.raises((OSError, SSL.Error)):
            await asyncio.to_thread(call)
        ended = await server.ended.next()
        assert (ended.refused, ended.reason, ended.rule) == (True, "limit_client_connections", ORIGIN)
        first.abort()
        assert not (await server.ended.next()).refused
        (await asyncio.to_thread(call)).abort()
        server.close()
        while ForeignClient.opened:
            ForeignClient.opened.pop().close()


async def test_foreign_handshakes_have_a_limit_of_their_own() -> None:
    async with application(echo) as port:
        policy = limited(handshakes=1, foreign=frozenset({port}))
        server = Server(identity(SpiffeId.parse("spiffe://test.example/ns/shop/sa/orders")), policy)
        server.plain_destination = (HOST, port)
        server.inbound._foreign_port()._limit._clock = lambda: 0
        reader, first = await asyncio.open_connection(HOST, server.plain_listener.port)
        first.write(b"\x16")
        second_reader, second = await asyncio.open_connection(HOST, server.plain_listener.port)
        second.write(b"\x16")
        with pytest.raises(ConnectionResetError):
            await second_reader.read()
        ended = await server.ended.next()
        assert (ended.refused, ended.reason, ended.rule) == (True, "limit_handshakes", ORIGIN)
        assert not reader.at_eof()
        for writer in (first, second):
            writer.transport.abort()
        server.close()
        await asyncio.sleep(0)
