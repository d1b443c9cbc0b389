"""Tunnels and what they carry, while the roots that vouch for them are replaced."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import sha256

import pytest

from handfast_sidecar.identity.contexts import build_contexts
from handfast_sidecar.identity.leaf import key_identifier_of
from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.tunnel import control, renewal
from handfast_sidecar.tunnel.hello import ControlLine, RenewNotice, decode
from support.directory import until
from support.mesh import CLIENT_ID, SERVER_ID, Client, Server, application, echo, mesh
from support.pki import TestAuthority, plain_config

CLIENT_UID = "22222222-0000-0000-0000-000000000000"
SERVER_UID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "SPREAD_S", 0.05)
    monkeypatch.setattr(renewal, "APART_S", 0.0)


def signed(by: TestAuthority, trusted: list[TestAuthority], *, client: bool, ttl_h: float = 1) -> Identity:
    """A leaf of one authority, and a bundle of several."""
    issued = by.issue(
        CLIENT_ID if client else SERVER_ID,
        pod_uid=CLIENT_UID if client else SERVER_UID,
        ttl=timedelta(hours=ttl_h),
    )
    bundle = b"".join(each.bundle_pem for each in trusted)
    material = replace(issued, bundle=bundle).material(plain_config())
    return Identity(material, build_contexts(material))


def load(side: Client | Server, identity: Identity) -> None:
    """What the proxy does when its keeper has read another Secret."""
    side.who = identity
    if isinstance(side, Client):
        side.pool.look_again()
        side.pool.identity_changed()
    else:
        side.mesh.look_again()
        side.mesh.identity_changed()


def issuers(*authorities: TestAuthority) -> tuple[str, ...]:
    return tuple(key_identifier_of(each._issuer) for each in authorities)


def rest_on(expected: tuple[str, ...], client: Client, server: Server) -> bool:
    """Whether every tunnel does, on both sides."""
    return all(each.footing.issuers == expected for each in (*client.pool, *server.mesh.registry))


class Talk:
    """One long connection, every byte of which is checked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.rounds = 0
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while True:
            said = sha256(b"%d" % self.rounds).digest() * 500
            self._writer.write(said)
            assert await self._reader.readexactly(len(said)) == said
            self.rounds += 1

    async def goes_on(self) -> None:
        """Several more rounds, or the failure of the connection."""
        seen = self.rounds
        await until(lambda: self.task.done() or self.rounds > seen + 5)
        if self.task.done():
            self.task.result()

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.wait((self.task,))
        self._writer.close()


async def test_a_connection_outlives_three_rotations_of_the_root() -> None:
    old = TestAuthority()
    first = (signed(old, [old], client=False), signed(old, [old], client=True))
    async with application(echo) as port, mesh(port, server=first[0], client=first[1]) as (client, server):
        talk = Talk(*await client.dial())
        await talk.goes_on()
        [carrying] = client.pool
        for turn in range(3):
            new = TestAuthority()
            both = [old, new]
            load(client, signed(old, both, client=True))
            load(server, signed(old, both, client=False))
            await talk.goes_on()
            for is_client in (True, False) if turn % 2 else (False, True):
                load(client if is_client else server, signed(new, both, client=is_client))
                await talk.goes_on()
            await until(partial(rest_on, issuers(new, new), client, server))
            load(client, signed(new, [new], client=True))
            load(server, signed(new, [new], client=False))
            await talk.goes_on()
            old = new
        assert carrying in list(client.pool), "the connection is where it began"
        assert client.failures == []
        await talk.close()


async def test_a_renewal_counts_although_the_new_leaves_end_sooner() -> None:
    old, new = TestAuthority(), TestAuthority()
    both = [old, new]
    ours, theirs = signed(old, both, client=False, ttl_h=9), signed(old, both, client=True, ttl_h=9)
    async with application(echo) as port, mesh(port, server=ours, client=theirs) as (client, server):
        tunnel = await client.pool.get(client.endpoint)
        talk = Talk(*await client.dial())
        await talk.goes_on()
        load(client, signed(new, both, client=True))
        await until(lambda: tunnel.footing.issuers == issuers(new, old))
        assert tunnel.expires == client.who.leaf.not_after
        await until(lambda: all(each.footing.peer.leaf == client.who.leaf for each in server.mesh.registry))
        await talk.close()


async def test_a_server_with_a_leaf_of_another_issuer_asks_for_a_renewal() -> None:
    old, new = TestAuthority(), TestAuthority()
    both = [old, new]
    ours, theirs = signed(old, both, client=False), signed(old, both, client=True)
    async with application(echo) as port, mesh(port, server=ours, client=theirs) as (client, server):
        talk = Talk(*await client.dial())
        await talk.goes_on()
        load(server, signed(new, both, client=False))
        await until(lambda: all(each.footing.issuers == issuers(old, new) for each in client.pool))
        await until(lambda: all(each.footing.issuers == issuers(new, old) for each in server.mesh.registry))
        assert all(each.footing.own.leaf == client.who.leaf for each in client.pool)
        await talk.close()


async def test_a_client_that_does_not_know_the_request_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    skipped: list[bytes] = []

    def older(line: bytes) -> ControlLine | None:
        read = decode(line)
        if isinstance(read, RenewNotice):
            skipped.append(line)
            return None
        return read

    monkeypatch.setattr(control, "decode", older)
    old, new = TestAuthority(), TestAuthority()
    both = [old, new]
    ours, theirs = signed(old, both, client=False), signed(old, both, client=True)
    async with application(echo) as port, mesh(port, server=ours, client=theirs) as (client, server):
        talk = Talk(*await client.dial())
        await talk.goes_on()
        [tunnel] = client.pool
        load(server, signed(new, both, client=False))
        await until(lambda: skipped == [b'{"renew":"issuer_changed"}'])
        await talk.goes_on()
        assert tunnel.footing.issuers == issuers(old, old)
        [key] = client.pool._current
        client.pool.succession.renew(key, client.endpoint, tunnel, asked=True)  # as when it is due
        await until(lambda: tunnel.footing.issuers == issuers(old, new))
        await talk.goes_on()
        await talk.close()


async def test_a_renewal_that_another_issuer_asks_for_is_tried_until_it_is_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewal, "ASKED_RETRY", timedelta(milliseconds=20))
    old, new = TestAuthority(), TestAuthority()
    both = [old, new]
    ours, theirs = signed(old, [old], client=False), signed(old, both, client=True)
    async with application(echo) as port, mesh(port, server=ours, client=theirs) as (client, server):
        tunnel = await client.pool.get(client.endpoint)
        load(client, signed(new, both, client=True))
        await until(lambda: client.failures.count("refused_by_peer") > 2)
        assert tunnel.footing.issuers == issuers(old, old)
        load(server, signed(old, both, client=False))
        await until(lambda: [each.footing.issuers for each in client.pool] == [issuers(new, old)])


@pytest.fixture(params=[0, 1], ids=["root", "intermediate"])
def roots(request: pytest.FixtureRequest) -> tuple[TestAuthority, TestAuthority]:
    """The old one and the new one; leaves are signed by them, or by an intermediate of theirs."""
    return TestAuthority(intermediates=request.param), TestAuthority(intermediates=request.param)


async def test_what_rests_on_a_root_that_was_retired_by_force_ends(
    roots: tuple[TestAuthority, TestAuthority],
) -> None:
    old, new = roots
    both = [old, new]
    ours, theirs = signed(new, both, client=False), signed(old, both, client=True)
    async with application(echo) as port, mesh(port, server=ours, client=theirs) as (client, server):
        reader, writer = await client.dial()
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        assert [each.footing.issuers for each in client.pool] == [issuers(old, new)]
        load(server, signed(new, [new], client=False))
        ended = await server.ended.next()
        assert (ended.reason, ended.peer) == ("root_retired", CLIENT_ID)
        assert str(CLIENT_ID) in ended.detail
        assert await server.closed.get() == "root_retired"
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()


async def test_a_side_whose_own_leafs_root_was_retired_ends_what_rests_on_it(
    roots: tuple[TestAuthority, TestAuthority],
) -> None:
    old, new = roots
    both = [old, new]
    ours, theirs = signed(new, both, client=False), signed(old, both, client=True)
    async with application(echo) as port, mesh(port, server=ours, client=theirs) as (client, _server):
        reader, writer = await client.dial()
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        load(client, signed(new, [new], client=True))
        ended = await client.ended.next()
        assert ended.reason == "root_retired"
        assert "our own certificate" in ended.detail
        writer.close()
        reader, writer = await client.dial()
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y", "and what comes next is carried by a new tunnel"
        writer.close()
