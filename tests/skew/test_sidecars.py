"""A sidecar of the previous release and one of ours, in pods beside each other and with our directory, both ways."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from handfast_bench.identities import STRICT, Identities
from handfast_sidecar import __version__
from handfast_sidecar.identity.leaf import key_identifier_of
from handfast_sidecar.policy.authorisation import Rule, RuleSet
from support.directory import until
from support.mesh import echo
from support.pods import OURS, Node, Running, bundle
from support.previous import Previous, unpack

Pair: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""How the client's sidecar is run, and the server's."""
PORT = 8080
NOBODY = 9999
"""A port on which no application listens."""
RELOADED = '"message":"identity reloaded"'


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Previous:
    return unpack(tmp_path_factory.mktemp("previous"))


@pytest.fixture(params=["old client", "old server"])
def programs(request: pytest.FixtureRequest, previous: Previous) -> Pair:
    """Of the client's and of the server's sidecar."""
    old = (sys.executable, str(previous.sidecar))
    return (old, OURS) if request.param == "old client" else (OURS, old)


@asynccontextmanager
async def pair(folder: Path, programs: Pair) -> AsyncIterator[tuple[Node, Running, Running]]:
    """A client's pod, and that of a server that echoes."""
    async with AsyncExitStack() as stack, Node.running(folder) as node:
        client, server = await node.start("client", programs[0]), await node.start("orders", programs[1])
        listening = await asyncio.start_server(echo, sock=server.listening())
        stack.callback(listening.close)
        yield node, client, server


async def dial(client: Running, server: Running, port: int = PORT) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = client.dialling()
    await asyncio.get_running_loop().sock_connect(sock, (server.pod.ip, port))
    return await asyncio.open_connection(sock=sock)


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"and now?")
    assert await asyncio.wait_for(reader.readexactly(8), 10) == b"and now?"


async def refused(client: Running, server: Running, port: int) -> None:
    reader, writer = await dial(client, server, port)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 10)
    writer.close()


async def test_megabytes_pass_in_both_directions(tmp_path: Path, programs: Pair, previous: Previous) -> None:
    async with pair(tmp_path, programs) as (_node, client, server):
        reader, writer = await dial(client, server)
        payload = bytes(range(256)) * 20_000

        async def send() -> None:
            writer.write(payload)
            await writer.drain()
            writer.write_eof()

        _, received = await asyncio.gather(send(), reader.read())
        assert received == payload
        writer.close()
        await server.said('"bytes_in":5120000')
        [line] = server.connections()
        assert (line["peer"], line["tls"]["version"], line["verdict"]) == (
            str(client.pod.spiffe_id),
            "TLSv1.3",
            "allowed",
        )
        client.signal(signal.SIGTERM)
        assert await client.ended() == 0
        await server.said('"message":"tunnel closed"')
        [closed] = [each for each in server.lines() if each["message"] == "tunnel closed"]
        if programs[1] == OURS:
            assert closed["peer_version"] == previous.version != __version__


async def test_leaves_of_another_root_take_over_under_an_open_connection(tmp_path: Path, programs: Pair) -> None:
    async with pair(tmp_path, programs) as (node, client, server):
        reader, writer = await dial(client, server)
        await answered(reader, writer)
        before, after = node.identities, Identities()
        issuer = key_identifier_of(after.authority.certificate)
        node.trust(after, before)
        for number, signs in enumerate((before, after), 1):
            node.identities = signs
            for each in (client, server):
                node.write(each, bundle_pem=bundle(before, after))
                await each.said(RELOADED, number)
        await until(lambda: {node.issuers(client), node.issuers(server)} == {(issuer,)}, 30)
        # The open connection's tunnel rests on the new leaves now: the old root may go.
        node.trust(after)
        for each in (client, server):
            node.write(each)
            await each.said(RELOADED, 3)
        another_reader, another_writer = await dial(client, server)
        await answered(another_reader, another_writer)
        await answered(reader, writer)
        another_writer.close()
        writer.close()
        ended = [each for each in (*client.lines(), *server.lines()) if each["message"] == "tunnel closed"]
        assert not [each for each in ended if each["reason"] == "root_retired"]


async def test_the_reasons_of_one_are_understood_by_the_other(tmp_path: Path, programs: Pair) -> None:
    async with pair(tmp_path, programs) as (node, client, server):
        await refused(client, server, NOBODY)
        await client.said('"reason":"connection_refused"')
        # What our operator writes into the Secret, either sidecar reads.
        denying = replace(STRICT, deny=RuleSet((Rule("MTLSPolicy bench/no-client"),)))
        node.write(server, policy=denying, revision=2)
        await server.said(RELOADED)
        await refused(client, server, PORT)
        await client.said('"reason":"denied"')
        await server.said('"reason":"denied"')
        [line] = [each for each in server.connections() if each["reason"] == "denied"]
        assert (line["peer"], line["rule"]) == (str(client.pod.spiffe_id), "MTLSPolicy bench/no-client")


async def test_a_server_that_ends_lets_go_of_its_client_in_peace(tmp_path: Path, programs: Pair) -> None:
    async with pair(tmp_path, programs) as (_node, client, server):
        reader, writer = await dial(client, server)
        await answered(reader, writer)
        server.signal(signal.SIGTERM)
        await server.said('"message":"draining"')
        await answered(reader, writer)
        writer.close()
        assert await server.ended() == 0
        await client.said('"message":"tunnel closed"')
        [closed] = [each for each in client.lines() if each["message"] == "tunnel closed"]
        assert closed["reason"] == "drained"
