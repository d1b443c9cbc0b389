"""A policy that changes while connections run: what it forbids ends at once, and what it does not goes on."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.policy.authorisation import Rule, RuleSet, Source
from handfast_sidecar.policy.effective import (
    AllowRules,
    EffectivePolicy,
    Enforcement,
    EnforcementRule,
    ForeignRule,
    Mode,
    ModeRule,
    TlsVersion,
)
from handfast_sidecar.policy.principals import Principal
from handfast_sidecar.traffic.connection import OK
from handfast_sidecar.traffic.telemetry import Telemetry
from support.foreign import ForeignClient, client_context
from support.mesh import (
    AUTHORITY,
    CLIENT_ID,
    HOST,
    SERVER_ID,
    STRICT,
    Client,
    Server,
    application,
    echo,
    identity,
    mesh,
)
from support.pki import Issued, TestAuthority

CURL_ID = SpiffeId.parse("spiffe://test.example/ns/outside/sa/curl")
GOOD = AUTHORITY.issue(str(CURL_ID))
ORIGIN, DENIER = "MTLSPolicy shop/orders", "MTLSPolicy shop/nobody"
OPEN = EffectivePolicy(ModeRule(Mode.PERMISSIVE, ORIGIN))
SOON_S = 1.0
"""Within which a connection ends that the policy forbids."""
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def offer(server: Server, policy: EffectivePolicy) -> None:
    """As the directory or the Secret brings one."""
    assert server.policy.offer(policy, server.policy.revision + 1)
    server.inbound.rejudge()


def denying(policy: EffectivePolicy, *peers: SpiffeId, ports: frozenset[int] | None = None) -> EffectivePolicy:
    """The same, and one that denies: these, or everybody."""
    sources = tuple(Source(Principal(str(each))) for each in peers) or None
    return replace(policy, deny=RuleSet([Rule(DENIER, sources, ports)]))


def pinned(policy: EffectivePolicy, key: str) -> EffectivePolicy:
    return replace(policy, allow=AllowRules(RuleSet([Rule("MTLSPolicy shop/pin", (Source(spki=key),))]), ORIGIN))


def foreign(*ports: int, oldest: TlsVersion = TlsVersion.TLS_1_3) -> EffectivePolicy:
    return EffectivePolicy(ModeRule(Mode.STRICT, ORIGIN), foreign=ForeignRule(frozenset(ports), oldest, ORIGIN))


def audit(policy: EffectivePolicy) -> EffectivePolicy:
    return replace(policy, enforcement=EnforcementRule(Enforcement.AUDIT, ORIGIN))


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    """Whatever a test leaves open of its foreign clients is closed."""
    yield
    while ForeignClient.opened:
        ForeignClient.opened.pop().close()


async def said_back(streams: Streams, word: bytes = b"still here") -> bool:
    """Whether a connection carries bytes there and back."""
    reader, writer = streams
    writer.write(word)
    return await reader.readexactly(len(word)) == word


async def is_cut(reader: asyncio.StreamReader) -> bool:
    """Whether the other end aborts it, soon."""
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), SOON_S)
    return True


async def plain(server: Server, port: int) -> Streams:
    """A connection from a pod without a sidecar."""
    server.plain_destination = (HOST, port)
    streams = await asyncio.open_connection(HOST, server.plain_listener.port)
    assert await said_back(streams)
    return streams


async def tunnelled(client: Client, port: int) -> Streams:
    client.destination = (HOST, port)
    streams = await client.dial()
    assert await said_back(streams)
    return streams


async def from_outside(server: Server, port: int, issued: Issued = GOOD, version: str = "1.3") -> ForeignClient:
    """A connection of a client that speaks mutual TLS itself."""
    server.plain_destination = (HOST, port)
    client = ForeignClient(server.plain_listener.port, client_context(issued, version))
    assert await asyncio.to_thread(lambda: client.handshake().ask(b"hello", 5)) == b"hello"
    return client


async def is_reset_soon(client: ForeignClient) -> bool:
    """Whether a foreign client's connection is aborted."""

    def wait() -> bool:
        client.sock.settimeout(SOON_S)
        try:
            return not client.sock.recv(1)
        except ConnectionResetError:
            return True

    return await asyncio.to_thread(wait)


@asynccontextmanager
async def alone(policy: EffectivePolicy) -> AsyncIterator[Server]:
    server = Server(identity(SERVER_ID), policy)
    try:
        yield server
    finally:
        server.close()
        await asyncio.sleep(0)


async def test_a_stream_that_is_forbidden_ends_and_its_neighbour_on_the_same_tunnel_does_not() -> None:
    async with application(echo) as kept, application(echo) as closed, mesh(kept, policy=OPEN) as (client, server):
        goes_on, ends = await tunnelled(client, kept), await tunnelled(client, closed)
        offer(server, denying(OPEN, CLIENT_ID, ports=frozenset({closed})))
        assert await is_cut(ends[0])
        over = await server.ended.next()
        assert (over.reason, over.refused, over.rule, over.destination_port) == (
            "policy_changed",
            False,
            DENIER,
            closed,
        )
        assert over.detail == f"{DENIER} denies {CLIENT_ID} on port {closed}"
        assert (await client.ended.next()).reason == "peer_aborted"
        assert await said_back(goes_on)
        assert len(server.mesh.registry) == 1
        for _reader, writer in (goes_on, ends):
            writer.close()


async def test_plaintext_ends_when_a_port_becomes_strict_and_goes_on_at_another() -> None:
    async with application(echo) as kept, application(echo) as closed, alone(OPEN) as server:
        goes_on, ends = await plain(server, kept), await plain(server, closed)
        offer(server, replace(OPEN, ports={closed: ModeRule(Mode.STRICT, DENIER)}))
        assert await is_cut(ends[0])
        over = await server.ended.next()
        assert (over.reason, over.refused, over.rule) == ("policy_changed", False, DENIER)
        assert f"{DENIER} asks for Strict on port {closed}" in over.detail
        assert await said_back(goes_on)
        for _reader, writer in (goes_on, ends):
            writer.close()


async def test_plaintext_ends_when_a_list_lets_only_names_in() -> None:
    async with application(echo) as port, alone(OPEN) as server:
        reader, writer = await plain(server, port)
        named = Rule(ORIGIN, (Source(Principal(str(CLIENT_ID))),))
        offer(server, replace(OPEN, allow=AllowRules(RuleSet([named]), ORIGIN)))
        assert await is_cut(reader)
        writer.close()


CHANGES: dict[str, Callable[[int], EffectivePolicy]] = {
    "its identity is denied": lambda port: denying(foreign(port), CURL_ID),
    "another key is asked for": lambda port: pinned(foreign(port), "cd" * 32),
    "the port is closed to foreign clients": lambda _port: STRICT,
    "an older TLS is no longer enough": foreign,
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_foreign_client_is_cut_off_when(change: str) -> None:
    async with application(echo) as port, alone(foreign(port, oldest=TlsVersion.TLS_1_2)) as server:
        client = await from_outside(server, port, version="1.2")
        offer(server, CHANGES[change](port))
        assert await is_reset_soon(client)
        over = await server.ended.next()
        assert (over.reason, over.peer, over.bytes_in, over.refused) == ("policy_changed", CURL_ID, 5, False)
        assert over.detail


async def test_a_foreign_client_whose_key_is_pinned_is_let_in_and_stays_and_another_key_is_refused() -> None:
    other = AUTHORITY.issue(str(CURL_ID))
    async with application(echo) as port, alone(foreign(port)) as server:
        client = await from_outside(server, port)
        [relay] = server.inbound.relays
        protection = relay.connection.protection
        assert protection is not None
        offer(server, pinned(foreign(port), protection.spki_sha256))
        assert await asyncio.to_thread(lambda: client.ask(b"again", 5)) == b"again"
        assert relay.connection.rule == "MTLSPolicy shop/pin"
        await from_outside(server, port)
        with pytest.raises(Exception, match=r"ECONNRESET|unexpected EOF"):
            await from_outside(server, port, other)
        refused = await server.ended.next()
        assert (refused.refused, refused.reason, refused.rule) == (True, "denied", ORIGIN)


async def test_a_tunnels_peer_is_known_by_his_key() -> None:
    async with application(echo) as port, mesh(port, policy=OPEN) as (client, server):
        streams = await tunnelled(client, port)
        offer(server, pinned(OPEN, client.who.leaf.spki_sha256))
        assert await said_back(streams)
        offer(server, pinned(OPEN, "cd" * 32))
        assert await is_cut(streams[0])
        streams[1].close()


async def test_what_stays_is_told_by_the_rule_that_lets_it_in_now() -> None:
    async with application(echo) as port, mesh(port, policy=OPEN) as (client, server):
        streams = await tunnelled(client, port)
        rule = Rule("MTLSPolicy shop/carts", (Source(Principal(str(CLIENT_ID))),))
        offer(server, replace(OPEN, allow=AllowRules(RuleSet([rule]), ORIGIN)))
        assert await said_back(streams)
        streams[1].close()
        over = await server.ended.next()
        assert (over.rule, over.reason) == ("MTLSPolicy shop/carts", OK)


async def test_who_is_of_a_trust_domain_that_is_ours_no_longer_is_cut_off() -> None:
    async with application(echo) as port, mesh(port, policy=OPEN) as (client, server):
        streams = await tunnelled(client, port)
        server.who = identity(SpiffeId.parse("spiffe://new.example/ns/shop/sa/orders"), TestAuthority("new.example"))
        server.inbound.rejudge()
        assert await is_cut(streams[0])
        assert "is not of the trust domain new.example" in (await server.ended.next()).detail
        streams[1].close()


async def test_an_audit_cuts_nothing_off_and_tells_once_of_each_connection_that_it_would() -> None:
    async with application(echo) as port, mesh(port, policy=OPEN) as (client, server):
        told = server.ended.audited
        by_tunnel, in_plaintext = await tunnelled(client, port), await plain(server, port)
        for policy in (audit(denying(OPEN)), audit(denying(STRICT))):
            offer(server, policy)
            assert await said_back(by_tunnel)
            assert await said_back(in_plaintext)
        assert [(each.audited, each.rule, each.peer) for each in told] == [
            ("denied", DENIER, peer) for peer in (each.peer for each in told)
        ]
        assert {each.peer for each in told} == {CLIENT_ID, None}
        assert len(told) == 2
        new = await tunnelled(client, port)
        assert told[2].audited == "denied"
        offer(server, denying(OPEN))
        for reader, writer in (by_tunnel, in_plaintext, new):
            assert await is_cut(reader)
            writer.close()


async def test_what_was_audited_and_what_was_ended_is_counted_with_its_reason() -> None:
    registry = Registry()
    telemetry = Telemetry(registry, lambda: SERVER_ID)
    async with application(echo) as port, mesh(port, policy=audit(denying(OPEN))) as (client, server):
        reader, writer = await tunnelled(client, port)
        [audited] = server.ended.audited
        telemetry.connection_audited(audited)
        assert 'handfast_audited_total{direction="in",reason="denied"} 1' in registry.render()
        offer(server, denying(OPEN))
        assert await is_cut(reader)
        telemetry.connection_over(await server.ended.next())
        closed = 'handfast_connections_closed_total{direction="in",encrypted="true",reason="policy_changed"} 1'
        assert closed in registry.render()
        writer.close()


async def test_what_an_audit_had_against_a_connection_is_forgotten_with_its_cause() -> None:
    async with application(echo) as port, mesh(port, policy=audit(denying(OPEN))) as (client, server):
        _reader, writer = streams = await tunnelled(client, port)
        [relay] = server.inbound.relays
        assert (relay.connection.audited, relay.connection.detail) != ("", "")
        offer(server, OPEN)
        assert await said_back(streams)
        assert (relay.connection.audited, relay.connection.detail) == ("", "")
        writer.close()


@asynccontextmanager
async def deaf_application() -> AsyncIterator[tuple[int, socket.socket]]:
    """A port whose accept queue is full, so that dials hang, and its listener, which makes room when it accepts."""
    with socket.create_server((HOST, 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address) as first:
            listener.setblocking(False)
            yield address[1], listener
            first.close()


async def until_dialled(server: Server) -> None:
    while not (server.inbound.dialling or server.inbound._waiting):  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)


async def test_a_stream_whose_application_lets_it_wait_is_refused_like_a_new_one() -> None:
    async with deaf_application() as (port, _listener), mesh(port, policy=OPEN) as (client, server):
        reader, writer = await client.dial()
        await until_dialled(server)
        offer(server, denying(OPEN))
        assert await is_cut(reader)
        refused, told = await server.ended.next(), await client.ended.next()
        assert (refused.refused, refused.reason, refused.rule) == (True, "denied", DENIER)
        assert (told.refused, told.reason) == (True, "denied")
        assert not server.inbound.dialling
        writer.close()


async def test_plaintext_that_its_application_lets_wait_is_refused_like_a_new_one() -> None:
    async with deaf_application() as (port, _listener), alone(OPEN) as server:
        server.plain_destination = (HOST, port)
        reader, writer = await asyncio.open_connection(HOST, server.plain_listener.port)
        await until_dialled(server)
        offer(server, STRICT)
        assert await is_cut(reader)
        refused = await server.ended.next()
        assert (refused.refused, refused.reason, refused.rule) == (True, "plaintext_refused", ORIGIN)
        writer.close()


@pytest.mark.parametrize("way", ["by tunnel", "in plaintext"])
async def test_what_its_application_lets_wait_is_judged_again_before_it_is_carried(way: str) -> None:
    """Even where no round has reached it."""
    async with deaf_application() as (port, listener), mesh(port, policy=OPEN) as (client, server):
        server.plain_destination = (HOST, port)
        dialled = client.listener if way == "by tunnel" else server.plain_listener
        reader, writer = await asyncio.open_connection(HOST, dialled.port)
        await until_dialled(server)
        server.policy.offer(denying(OPEN), 2)
        taken = [listener.accept()[0]]
        refused = await server.ended.next()
        assert (refused.refused, refused.reason, refused.rule) == (True, "denied", DENIER)
        assert await is_cut(reader)
        writer.close()
        for sock in taken:
            sock.close()


async def test_a_handshake_of_a_foreign_client_ends_when_its_port_is_closed_to_them() -> None:
    async with application(echo) as port, alone(foreign(port)) as server:
        server.plain_destination = (HOST, port)
        reader, writer = await asyncio.open_connection(HOST, server.plain_listener.port)
        writer.write(b"\x16\x03\x01")
        await until_dialled(server)
        offer(server, denying(foreign(port), SERVER_ID))
        await asyncio.sleep(0)
        assert server.inbound._waiting, "who it is, nobody knows yet"
        offer(server, STRICT)
        assert await is_cut(reader)
        refused = await server.ended.next()
        assert (refused.refused, refused.reason) == (True, "denied")
        assert f"port {port} is not open to clients without a sidecar any more" in refused.detail
        writer.close()


async def test_who_has_said_nothing_on_a_port_that_is_closed_to_foreign_clients_is_plaintext_at_once() -> None:
    async with application(echo) as port, alone(foreign(port)) as server:
        server.plain_destination = (HOST, port)
        reader, writer = await asyncio.open_connection(HOST, server.plain_listener.port)
        while not server.inbound._foreign_port().waiting:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        offer(server, STRICT)
        assert await is_cut(reader)
        assert (await server.ended.next()).reason == "plaintext_refused"
        writer.close()


async def test_one_line_tells_how_many_connections_of_a_port_were_ended_and_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with application(echo) as port, mesh(port, policy=OPEN) as (client, server):
        several = [await tunnelled(client, port) for _ in range(3)]
        offer(server, denying(OPEN, CLIENT_ID))
        for reader, writer in several:
            assert await is_cut(reader)
            writer.close()
        [line] = [each for each in caplog.records if "no longer allows" in each.getMessage()]
        said = line.__dict__
        assert line.levelno == logging.WARNING
        assert (said["connections"], said["peer"], said["port"], said["rule"]) == (3, str(CLIENT_ID), port, DENIER)
        assert (said["reason"], said["detail"]) == ("policy_changed", f"{DENIER} denies {CLIENT_ID} on port {port}")
