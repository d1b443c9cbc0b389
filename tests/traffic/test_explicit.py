"""Upstreams: real listeners on loopback, real tunnels; the names' resolver answers as the test says."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from handfast_sidecar.config.upstreams import Upstream
from handfast_sidecar.directory.messages import NobodyAddress, PodAddress, Transport
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.traffic.explicit import Upstreams
from handfast_sidecar.traffic.listener import Listener
from handfast_sidecar.traffic.names import Names
from handfast_sidecar.traffic.sockets import listen
from support.mesh import (
    AUTHORITY,
    CLIENT_ID,
    HOST,
    SERVER_ID,
    Client,
    application,
    echo,
    free_port,
    identity,
    is_reset,
    mesh,
)
from support.pki import write_files

LEDGER = SpiffeId.parse("spiffe://test.example/ns/outside/sa/ledger")
ELSEWHERE = "127.0.0.3"
"""An address that is not the server's pod."""


async def look_up(host: str) -> Sequence[str]:
    """As the cluster's DNS would."""
    known = {"orders.shop": [HOST], "elsewhere.shop": [ELSEWHERE]}
    if host not in known:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return known[host]


@asynccontextmanager
async def declared(client: Client, *upstreams: Upstream, slots: int = 64) -> AsyncIterator[None]:
    """What the proxy does with a pod's upstreams, beside what is redirected to it."""
    ours = Upstreams(upstreams, client.outbound, lambda: client.who, Names(look_up))
    client.listener.close()
    client.listener = Listener("outbound", [listen(HOST, 0), *ours.listen()], slots, ours.accepted)
    client.outbound.released = client.listener.release
    yield


async def spoken(host: str, port: int) -> bytes:
    """What an application at a port answers to "hello"."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"hello")
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("host", ["orders.shop", HOST], ids=["name", "address"])
async def test_what_is_dialled_on_loopback_reaches_the_upstream_through_a_tunnel(loopback: str, host: str) -> None:
    local = free_port()
    async with (
        application(echo) as port,
        mesh(port) as (client, server),
        declared(client, Upstream(local, host, port)),
    ):
        assert await spoken(loopback, local) == b"hello"
        served, dialled = await server.ended.next(), await client.ended.next()
        assert (served.peer, served.source, served.destination_port) == (CLIENT_ID, HOST, port)
        assert (dialled.peer, dialled.destination, dialled.reason) == (SERVER_ID, HOST, "ok")


async def test_a_redirected_connection_beside_upstreams_goes_where_it_was_going() -> None:
    async with (
        application(echo) as port,
        mesh(port) as (client, server),
        declared(client, Upstream(free_port(), "nowhere.shop", 1)),
    ):
        assert await spoken(HOST, client.listener.port) == b"hello"
        assert (await server.ended.next()).peer == CLIENT_ID


async def test_many_connections_share_a_tunnel_and_give_their_slots_back() -> None:
    local = free_port()
    async with (
        application(echo) as port,
        mesh(port) as (client, server),
        declared(client, Upstream(local, "orders.shop", port), slots=4),
    ):
        answers = await asyncio.gather(*(spoken(HOST, local) for _ in range(40)))
        assert answers == [b"hello"] * 40
        assert len(server.mesh.registry) == 1


async def test_an_upstream_outside_the_mesh_is_passed_on_in_plaintext() -> None:
    local = free_port()
    async with application(echo) as port, mesh(port) as (client, _server):
        client.directory.known_answers[HOST] = NobodyAddress(HOST)
        client.outbound.asked.settled.add(HOST)
        async with declared(client, Upstream(local, "orders.shop", port)):
            assert await spoken(HOST, local) == b"hello"
            ended = await client.ended.next()
            assert (ended.peer, ended.endpoint, ended.bytes_out) == (None, f"{HOST}:{port}", 5)


async def test_who_lives_elsewhere_than_the_directory_says_is_refused_not_spoken_to_in_plaintext() -> None:
    local = free_port()
    async with (
        application(echo) as port,
        mesh(port, server=identity(CLIENT_ID)) as (client, _server),
        declared(client, Upstream(local, "orders.shop", port)),
    ):
        assert await is_reset(local)
        assert (await client.ended.next()).reason == "handshake_wrong_identity"


async def test_a_meshed_pod_whose_sidecar_is_not_there_is_refused_not_spoken_to_in_plaintext() -> None:
    local = free_port()
    reached: list[object] = []
    async with application(lambda *streams: reached.append(streams)) as port, mesh(port) as (client, _server):
        client.directory.known_answers[ELSEWHERE] = PodAddress(ELSEWHERE, "shop/x", "uid", Transport.TUNNEL, SERVER_ID)
        async with declared(client, Upstream(local, "elsewhere.shop", port)):
            assert await is_reset(local)
            assert (await client.ended.next()).reason == "handshake_unreachable"
            assert reached == []


async def test_a_name_that_is_not_resolved_is_a_refusal_that_names_it(caplog: pytest.LogCaptureFixture) -> None:
    local = free_port()
    async with mesh(1) as (client, _server), declared(client, Upstream(local, "nowhere.shop", 80)):
        assert await is_reset(local)
        ended = await client.ended.next()
        assert (ended.refused, ended.reason, ended.destination) == (True, "no_such_host", "nowhere.shop")
        details = [str(vars(record).get("detail")) for record in caplog.records]
        assert any("the name nowhere.shop is not resolved: Name or service not known" in each for each in details)


async def test_an_upstream_that_leads_back_to_itself_is_refused() -> None:
    first, second = free_port(), free_port()
    async with (
        mesh(1) as (client, _server),
        declared(client, Upstream(first, "orders.shop", second), Upstream(second, "orders.shop", first)),
    ):
        assert await is_reset(first)
        assert (await client.ended.next()).reason == "leads_back"


@asynccontextmanager
async def partner(folder: Path) -> AsyncIterator[int]:
    """A server outside the mesh that speaks mutual TLS, as LEDGER, and sends back what it hears: its port."""
    certificate, key, _bundle = write_files(folder, AUTHORITY.issue(LEDGER))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(cadata=AUTHORITY.bundle_pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    async with await asyncio.start_server(echo, HOST, 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def test_an_upstream_outside_the_mesh_proves_the_identity_it_was_declared_with(tmp_path: Path) -> None:
    local = free_port()
    async with (
        partner(tmp_path) as port,
        mesh(1) as (client, _server),
        declared(client, Upstream(local, "orders.shop", port, LEDGER)),
    ):
        reader, writer = await asyncio.open_connection(HOST, local)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        ended = await client.ended.next()
        assert (ended.peer, ended.refused, ended.bytes_out) == (LEDGER, False, 5)
        assert ended.protection is not None
        assert ended.protection.version == "TLSv1.3"


async def test_an_upstream_that_is_somebody_else_is_refused(tmp_path: Path) -> None:
    local, other = free_port(), SpiffeId.parse("spiffe://test.example/ns/outside/sa/other")
    async with (
        partner(tmp_path) as port,
        mesh(1) as (client, _server),
        declared(client, Upstream(local, "orders.shop", port, other)),
    ):
        assert await is_reset(local)
        assert (await client.ended.next()).reason == "handshake_wrong_identity"


async def test_an_upstream_with_an_identity_is_never_spoken_to_without_proof_of_it() -> None:
    local, heard = free_port(), asyncio.Queue[bytes]()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.read(1))
        writer.close()

    async with (
        application(hear) as port,
        mesh(1) as (client, _server),
        declared(client, Upstream(local, "orders.shop", port, LEDGER)),
    ):
        assert await is_reset(local)
        assert (await client.ended.next()).reason.startswith("handshake_")
        assert await heard.get() == b"\x16", "a ClientHello, and nothing of the application's"


async def test_an_upstreams_port_is_on_loopback_alone() -> None:
    local = free_port()
    async with mesh(1) as (client, _server), declared(client, Upstream(local, "orders.shop", 80)):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", local)


async def test_an_upstream_whose_port_is_taken_is_named() -> None:
    async with mesh(1) as (client, _server):
        with listen(HOST, 0) as taken:
            port = taken.getsockname()[1]
            free = free_port()
            ours = Upstreams(
                [Upstream(free, "a", 1), Upstream(port, "orders.shop", 80)], client.outbound, lambda: client.who
            )
            with pytest.raises(OSError, match=f"for the upstream '{port}=orders.shop:80': Address already in use"):
                ours.listen()
            listen(HOST, free).close()  # what was opened before it is closed again


async def test_what_still_looks_for_its_destination_ends_with_the_proxy() -> None:
    local = free_port()
    asked = asyncio.Event()

    async def never(host: str) -> Sequence[str]:
        asked.set()
        await asyncio.Event().wait()
        return []

    async with mesh(1) as (client, _server):
        ours = Upstreams([Upstream(local, "orders.shop", 80)], client.outbound, lambda: client.who, Names(never))
        listener = Listener("outbound", ours.listen(), 1, ours.accepted)
        _reader, writer = await asyncio.open_connection(HOST, local)
        await asked.wait()
        listener.close()
        client.outbound.stop("shutting_down")
        assert (await client.ended.next()).reason == "internal"
        writer.close()
