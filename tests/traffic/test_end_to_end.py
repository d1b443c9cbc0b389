"""Application to application, through two sidecars' traffic parts and real TLS on loopback."""

import asyncio
import socket
import struct

import pytest

from handfast_sidecar.identity.contexts import build_contexts
from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.traffic.connection import OK
from handfast_sidecar.traffic.plain import PlainRelay
from handfast_sidecar.traffic.relay import Relay
from support.mesh import (
    AUTHORITY,
    CLIENT_ID,
    HOST,
    SERVER_ID,
    STRICT,
    Server,
    application,
    echo,
    free_port,
    greet,
    identity,
    is_reset,
    mesh,
)
from support.pki import plain_config


async def test_a_request_and_its_answer_pass_a_tunnel() -> None:
    async with application(echo) as port, mesh(port) as (client, server):
        reader, writer = await client.dial()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        ended = await server.ended.next()
        assert (ended.peer, ended.bytes_in, ended.bytes_out, ended.reason) == (CLIENT_ID, 5, 5, OK)
        assert ended.tunnel is not None
        assert ended.tunnel.version == "TLSv1.3"


async def test_the_hybrid_post_quantum_group_is_used() -> None:
    async with application(echo) as port, mesh(port) as (client, _server):
        tunnel = await client.pool.get(client.endpoint)
        assert tunnel.group == "X25519MLKEM768"


def with_suites(spiffe_id: SpiffeId, suites: str) -> Identity:
    """An identity under the chart's `sidecar.cipherSuites`."""
    material = AUTHORITY.issue(spiffe_id).material(plain_config())
    return Identity(material, build_contexts(material, suites))


@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"])
async def test_the_cipher_suite_is_the_one_that_is_allowed(suite: str) -> None:
    client_id, server_id = with_suites(CLIENT_ID, suite), with_suites(SERVER_ID, suite)
    async with application(echo) as port, mesh(port, client=client_id, server=server_id) as (client, server):
        tunnel = await client.pool.get(client.endpoint)
        await tunnel.decided.wait()
        [held] = server.mesh.registry
        assert (tunnel.cipher, held.cipher) == (suite, suite)


async def test_without_a_suite_in_common_nothing_is_spoken_not_even_plaintext(caplog: pytest.LogCaptureFixture) -> None:
    reached: list[object] = []
    client_id = with_suites(CLIENT_ID, "TLS_AES_128_GCM_SHA256")
    server_id = with_suites(SERVER_ID, "TLS_AES_256_GCM_SHA384")
    async with (
        application(lambda *streams: reached.append(streams)) as port,
        mesh(port, client=client_id, server=server_id) as (client, server),
    ):
        assert await is_reset(client.listener.port)
        assert (await client.ended.next()).reason == "handshake_tls_error"
        assert await server.failures.get() == "no_common_cipher"
        assert reached == []
        details = [str(record.__dict__.get("detail")) for record in caplog.records]
        assert any("no shared cipher" in detail for detail in details), details


async def test_a_server_that_speaks_first_is_heard() -> None:
    async with application(greet) as port, mesh(port) as (client, _server):
        reader, writer = await client.dial()
        assert await reader.readline() == b"220 ready\r\n"
        writer.write(b"hi\n")
        assert await reader.read() == b"250 hi\n"
        writer.close()


async def test_many_connections_share_one_tunnel() -> None:
    async with application(echo) as port, mesh(port) as (client, server):

        async def one(number: int) -> bytes:
            reader, writer = await client.dial()
            writer.write(b"%04d" % number)
            answer = await reader.readexactly(4)
            writer.close()
            return answer

        answers = await asyncio.gather(*(one(number) for number in range(200)))
        assert answers == [b"%04d" % number for number in range(200)]
        assert len(server.mesh.registry) == 1


async def test_megabytes_arrive_unchanged_in_both_directions() -> None:
    payload = bytes(range(256)) * 40_000
    async with application(echo) as port, mesh(port) as (client, _server):
        reader, writer = await client.dial()

        async def send() -> None:
            writer.write(payload)
            await writer.drain()
            writer.write_eof()

        _, received = await asyncio.gather(send(), reader.read())
        assert received == payload
        writer.close()


async def test_a_half_closed_connection_still_gets_its_answer() -> None:
    async def after_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d" % len(await reader.read()))
        writer.close()

    async with application(after_the_end) as port, mesh(port) as (client, _server):
        reader, writer = await client.dial()
        writer.write(b"x" * 1000)
        writer.write_eof()
        assert await reader.read() == b"1000"
        writer.close()


def reads_on(relay: Relay | PlainRelay) -> bool:
    """Whether a server's relay still takes what its application sends."""
    return relay._reading if isinstance(relay, Relay) else relay._dialler.other._reading


async def fill(app: asyncio.StreamWriter, server: Server) -> int:
    """Let an application write until its sidecar has to wait for the reader; how much it was."""
    size = 0
    [relay] = server.inbound.relays
    while reads_on(relay):
        app.write(bytes(4096))
        size += 4096
        await asyncio.sleep(0)
    return size


@pytest.mark.parametrize("way", ["by tunnel", "in plaintext"])
async def test_an_answer_that_waits_for_its_reader_is_not_cut_off_by_its_end(way: str) -> None:
    """Both sides have sent FIN, so the kernel reports a hang-up, while the last bytes are still in the socket."""
    answering: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        answering.set_result(writer)

    async with application(answer) as port, mesh(port, policy=EffectivePolicy()) as (client, server):
        server.plain_destination = (HOST, port)
        listener = client.listener if way == "by tunnel" else server.plain_listener
        reader, writer = await asyncio.open_connection(HOST, listener.port)
        writer.write_eof()
        app = await answering
        size = await fill(app, server)
        app.close()
        await app.wait_closed()
        for _ in range(20):  # turns of the loop, in which a hang-up would be heard
            await asyncio.sleep(0)
        assert len(await reader.read()) == size
        writer.close()
        assert (await server.ended.next()).reason == OK


async def test_an_abort_by_the_server_is_heard_while_its_answer_waits_for_its_reader() -> None:
    answering: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

    async with (
        application(lambda _reader, writer: answering.set_result(writer)) as port,
        mesh(port) as (client, server),
    ):
        reader, writer = await client.dial()
        app = await answering
        await fill(app, server)
        app.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        app.transport.abort()
        assert (await server.ended.next()).reason == "app_aborted"
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_an_abort_by_the_client_is_an_abort_for_the_server() -> None:
    seen: asyncio.Future[type[BaseException]] = asyncio.get_running_loop().create_future()

    async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"!")
            await reader.read()
            seen.set_result(EOFError)
        except ConnectionError as error:
            seen.set_result(type(error))
        writer.close()

    async with application(wait_for_end) as port, mesh(port) as (client, _server):
        reader, writer = await client.dial()
        await reader.readexactly(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        assert await seen is ConnectionResetError


async def test_an_abort_by_the_server_is_an_abort_for_the_client() -> None:
    def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with application(hang_up) as port, mesh(port) as (client, _server):
        assert await is_reset(client.listener.port)


async def test_a_port_on_which_nothing_listens_is_a_reset_with_its_reason() -> None:
    async with mesh(free_port()) as (client, _server):
        assert await is_reset(client.listener.port)
        ended = await client.ended.next()
        assert (ended.refused, ended.reason) == (True, "connection_refused")


async def test_a_slow_reader_does_not_stall_another_connection() -> None:
    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for _ in range(400):
                writer.write(bytes(64 * 1024))
                await writer.drain()
        except ConnectionError:
            return

    async def either(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (flood if await reader.readexactly(1) == b"f" else echo)(reader, writer)

    async with application(either) as port, mesh(port) as (client, _server):
        slow = socket.create_connection((HOST, client.listener.port))
        slow.sendall(b"f")  # and never reads
        reader, writer = await client.dial()
        writer.write(b"e")
        for _ in range(50):
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
        writer.close()
        slow.close()


async def test_plaintext_is_refused_under_strict_and_says_why() -> None:
    async with application(echo) as port, mesh(port) as (_client, server):
        server.plain_destination = (HOST, port)
        assert await is_reset(server.plain_listener.port)
        ended = await server.ended.next()
        assert (ended.reason, ended.rule) == ("plaintext_refused", "MTLSPolicy shop/orders")


async def test_plaintext_is_served_under_permissive() -> None:
    async with application(echo) as port, mesh(port, policy=EffectivePolicy()) as (_client, server):
        server.plain_destination = (HOST, port)
        reader, writer = await asyncio.open_connection(HOST, server.plain_listener.port)
        writer.write(b"plain")
        assert await reader.readexactly(5) == b"plain"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        ended = await server.ended.next()
        assert (ended.bytes_in, ended.bytes_out, ended.tunnel) == (5, 5, None)


async def test_the_sidecars_own_ports_are_no_applications() -> None:
    async with mesh(14020) as (client, _server):
        assert await is_reset(client.listener.port)
        ended = await client.ended.next()
        assert ended.reason == "reserved_port"


async def test_a_sidecar_is_no_open_relay() -> None:
    async with application(echo) as port, mesh(port) as (client, server):
        server.inbound._pod_ips = frozenset({"10.9.9.9"})
        assert await is_reset(client.listener.port)
        assert (await client.ended.next()).reason == "not_local"


async def test_who_lives_elsewhere_than_the_directory_says_is_refused_not_spoken_to_in_plaintext() -> None:
    async with application(echo) as port, mesh(port, server=identity(CLIENT_ID)) as (client, _server):
        assert await is_reset(client.listener.port)
        assert (await client.ended.next()).reason == "handshake_wrong_identity"
        assert client.failures == ["wrong_identity"]


async def test_a_policy_that_changes_holds_for_the_next_connection() -> None:
    async with application(echo) as port, mesh(port, policy=EffectivePolicy()) as (_client, server):
        server.plain_destination = (HOST, port)
        server.policy.offer(STRICT, 2)
        assert await is_reset(server.plain_listener.port)
        assert (await server.ended.next()).reason == "plaintext_refused"
        assert not server.policy.offer(EffectivePolicy(), 1), "an older policy must not come back"


async def test_a_draining_server_sends_its_clients_to_a_new_tunnel() -> None:
    async with application(echo) as port, mesh(port) as (client, server):
        reader, writer = await client.dial()
        writer.write(b"a")
        await reader.readexactly(1)
        old = await client.pool.get(client.endpoint)
        server.mesh.drain("shutting_down")
        writer.write(b"b")
        assert await reader.readexactly(1) == b"b", "what runs is served to its end"
        assert not old.usable
        new = await client.pool.get(client.endpoint)
        assert new is not old
        writer.close()
        assert await client.closed.get() == "drained"


async def test_the_servers_identity_is_the_one_it_was_issued() -> None:
    async with application(echo) as port, mesh(port) as (client, _server):
        tunnel = await client.pool.get(client.endpoint)
        assert tunnel.peer.spiffe_id == SERVER_ID
