"""What lives between a sidecar and one that is revoked ends, what is new is refused, and others do not notice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar

import pytest
from OpenSSL import SSL

from handfast_sidecar.identity.revocation import Revocation, Revocations
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy, ForeignRule, Mode, ModeRule, TlsVersion
from support.directory import until
from support.foreign import ForeignClient, client_context
from support.mesh import AUTHORITY, CLIENT_ID, HOST, SERVER_ID, Client, Server, application, echo, identity, mesh

OTHER_ID = SpiffeId.parse("spiffe://test.example/ns/shop/sa/other")
WHY = "its key was on a laptop"
T = TypeVar("T")


def revoke(side: Client | Server, *entries: Revocation, revision: int = 1) -> bool:
    """What the proxy does when it is told of a list."""
    part = side.pool if isinstance(side, Client) else side.mesh
    if not part._standing.offer(Revocations(revision, entries)):
        return False
    part.look_again()
    if isinstance(side, Server):
        side.inbound.standing = part._standing
        side.inbound.look_again()
    return True


OPENED: list[asyncio.StreamWriter] = []


@pytest.fixture(autouse=True)
def closed_connections() -> Iterator[None]:
    """Whatever a test leaves open is closed."""
    yield
    while OPENED:
        OPENED.pop().transport.abort()


async def dialled(client: Client) -> asyncio.StreamReader:
    reader, writer = await client.dial()
    OPENED.append(writer)
    return reader


async def talking(client: Client) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that carries."""
    reader, writer = await client.dial()
    OPENED.append(writer)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    return reader, writer


async def is_cut(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 5) == b""
    except ConnectionResetError:
        return True


@asynccontextmanager
async def two_clients(port: int) -> AsyncIterator[tuple[Client, Client, Server]]:
    """One that is going to be revoked, and another one."""
    async with mesh(port) as (thief, server):
        other = Client(identity(OTHER_ID, pod_uid="33333333-0000-0000-0000-000000000000"), server, port)
        try:
            yield thief, other, server
        finally:
            other.close()


async def test_what_a_revoked_client_has_open_ends_and_what_others_have_does_not() -> None:
    async with application(echo) as port, two_clients(port) as (thief, other, server):
        gone, _writer = await talking(thief)
        stays, writer = await talking(other)
        assert revoke(server, Revocation(CLIENT_ID, reason=WHY))
        ended = await server.ended.next()
        assert (ended.reason, ended.peer, ended.detail) == ("revoked", CLIENT_ID, f"{CLIENT_ID} is revoked: {WHY}")
        assert await server.closed.get() == "revoked"
        assert await is_cut(gone)
        writer.write(b"y")
        assert await stays.readexactly(1) == b"y"


async def test_a_revoked_client_gets_no_tunnel_any_more_until_it_is_taken_back() -> None:
    async with application(echo) as port, mesh(port) as (client, server):
        revoke(server, Revocation(CLIENT_ID))
        reader = await dialled(client)
        assert await is_cut(reader)
        assert await asyncio.wait_for(server.failures.get(), 5) == "revoked"
        assert not revoke(server, revision=0), "an older list changes nothing"
        assert revoke(server, revision=2)
        await talking(client)


async def test_a_revoked_server_is_not_talked_to() -> None:
    async with application(echo) as port, mesh(port) as (client, _server):
        reader, _writer = await talking(client)
        revoke(client, Revocation(SERVER_ID, reason=WHY))
        assert await is_cut(reader)
        ended = await client.ended.next()
        assert (ended.reason, ended.detail) == ("revoked", f"{SERVER_ID} is revoked: {WHY}")
        reader = await dialled(client)
        assert await is_cut(reader)
        refused = await client.ended.next()
        assert (refused.refused, refused.reason) == (True, "handshake_revoked")
        assert WHY in refused.detail


async def test_a_revoked_certificate_ends_and_its_pods_next_one_does_not() -> None:
    async with application(echo) as port, mesh(port) as (client, server):
        reader, _writer = await talking(client)
        revoke(server, Revocation(serial=client.who.leaf.serial))
        assert await is_cut(reader)
        client.who = identity(CLIENT_ID, pod_uid=client.who.leaf.pod_uid)
        await talking(client)


async def test_a_tunnel_that_was_renewed_rests_on_the_newer_certificate() -> None:
    async with application(echo) as port, mesh(port) as (client, server):
        reader, writer = await talking(client)
        [old], first = client.pool, client.who.leaf.serial
        client.who = identity(CLIENT_ID, pod_uid=client.who.leaf.pod_uid, ttl=timedelta(hours=2))
        server.who = identity(SERVER_ID, ttl=timedelta(hours=2))
        [key] = client.pool._current
        client.pool.succession.renew(key, client.endpoint, old)
        await until(lambda: all(each.footing.peer.leaf == client.who.leaf for each in server.mesh.registry))
        revoke(server, Revocation(serial=first))
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        revoke(server, Revocation(serial=client.who.leaf.serial), revision=2)
        assert await is_cut(reader)


async def test_a_foreign_client_that_is_revoked_is_parted_with() -> None:
    async with application(echo) as port:
        origin = "MTLSPolicy shop/orders"
        rule = ForeignRule(frozenset({port}), TlsVersion.TLS_1_3, origin)
        server = Server(identity(SERVER_ID), EffectivePolicy(ModeRule(Mode.STRICT, origin), {}, rule))
        server.plain_destination = (HOST, port)
        try:
            issued = AUTHORITY.issue(CLIENT_ID)
            dial = await outside(lambda: ForeignClient(server.plain_listener.port, client_context(issued)).handshake())
            assert await outside(lambda: dial.ask(b"x", 1)) == b"x"
            revoke(server, Revocation(CLIENT_ID, reason=WHY))
            ended = await server.ended.next()
            assert (ended.reason, ended.detail) == ("revoked", f"{CLIENT_ID} is revoked: {WHY}")
            with pytest.raises((SSL.Error, OSError)):
                await outside(
                    lambda: ForeignClient(server.plain_listener.port, client_context(issued)).handshake().ask(b"x", 1)
                )
            refused = await server.ended.next()
            assert (refused.refused, refused.reason) == (True, "handshake_revoked")
        finally:
            while ForeignClient.opened:
                ForeignClient.opened.pop().close()
            server.close()
            await asyncio.sleep(0)


async def outside(work: Callable[[], T]) -> T:
    """What a client does, in a thread of its own."""
    waiting: Awaitable[T] = asyncio.to_thread(work)
    return await asyncio.wait_for(waiting, 20)
