"""What an application is told of its caller: the bytes, and that they come first on every connection."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy, ForeignRule
from handfast_sidecar.traffic.connection import OK, Connection
from handfast_sidecar.traffic.proxy_header import LOCAL, Caller, proxy_header
from handfast_sidecar.traffic.relay import Relay
from handfast_sidecar.tunnel import preface
from handfast_sidecar.tunnel.frames import INITIAL_WINDOW
from support.foreign import ForeignClient, client_context
from support.mesh import AUTHORITY, CLIENT_ID, HOST, application, mesh
from support.proxy_protocol import Header, parse

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]
CART = SpiffeId.parse("spiffe://test.example/ns/shop/sa/cart")
SSL_BITS = 0x01 | 0x02 | 0x04


def test_the_golden_bytes_of_a_plaintext_connection() -> None:
    header = proxy_header("10.244.0.5", 54321, "10.244.0.6", 8080, None)
    assert header.hex(" ") == ("0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a 21 11 00 0c 0a f4 00 05 0a f4 00 06 d4 31 1f 90")
    assert header == preface.Preface("10.244.0.5", 54321, "10.244.0.6", 8080).pack()


def test_the_golden_bytes_of_a_callers_identity() -> None:
    header = proxy_header("10.244.0.5", 54321, "10.244.0.6", 8080, Caller(CART, "TLSv1.3", "TLS_AES_256_GCM_SHA384"))
    ssl = b"\x07\0\0\0\0" + b"\x21\0\x07TLSv1.3" + b"\x22\0\x25" + str(CART).encode()
    ssl += b"\x23\0\x16TLS_AES_256_GCM_SHA384"
    assert len(ssl) == 80
    assert header == (
        bytes.fromhex("0d0a0d0a000d0a515549540a 21 11 005f 0af40005 0af40006 d431 1f90") + b"\x20\0\x50" + ssl
    )


def test_the_golden_bytes_of_the_sidecars_own_connection() -> None:
    assert LOCAL.hex(" ") == "0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a 20 00 00 00"


def test_addresses_of_two_families_are_both_told_as_ipv6() -> None:
    header, _length = parse(proxy_header("10.0.0.1", 1, "2001:db8::1", 2, None))
    assert (header.source, header.destination) == ("::ffff:10.0.0.1", "2001:db8::1")


SEGMENTS = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,30}", fullmatch=True)
IDENTITIES = st.lists(SEGMENTS, min_size=1, max_size=60).map(lambda path: SpiffeId("a.example", "/" + "/".join(path)))
CALLERS = st.builds(Caller, IDENTITIES, st.sampled_from(["TLSv1.2", "TLSv1.3"]), st.text("ABC_0", min_size=1))


@given(
    st.one_of(*(st.tuples(ips, ips) for ips in (st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)))),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.none() | CALLERS,
)
def test_what_is_told_is_what_is_read(ends: tuple[str, str], source: int, port: int, caller: Caller | None) -> None:
    packed = proxy_header(ends[0], source, ends[1], port, caller)
    header, length = parse(packed + b"GET")
    assert length == len(packed)
    expected = Header("PROXY", header.source, source, header.destination, port)
    if caller is not None:
        expected.client, expected.verify = SSL_BITS, 0
        expected.version, expected.cn, expected.cipher = caller.version, str(caller.identity), caller.cipher
    assert header == expected
    plain = preface.parse(proxy_header(ends[0], source, ends[1], port, None))
    assert plain is not None
    assert (plain[0].source, plain[0].destination) == (header.source, header.destination)


Told = asyncio.Future[tuple[Header, bytes]]


def listening(told: Told) -> Handler:
    """An application that answers a caller whose header it has understood."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(16)
        data += await reader.readexactly(int.from_bytes(data[14:16]))
        header, _length = parse(data)
        question = await reader.readexactly(5)
        writer.write(b"known")
        told.set_result((header, question))
        await writer.drain()
        writer.close()

    return serve


async def test_the_application_behind_a_tunnel_knows_who_calls() -> None:
    told: Told = asyncio.get_running_loop().create_future()
    async with application(listening(told)) as port, mesh(port) as (client, server):
        server.inbound.proxy_protocol_ports = frozenset({port})
        reader, writer = await client.dial()
        writer.write(b"hello")
        assert await reader.read() == b"known"
        header, question = await told
        assert question == b"hello"
        own = writer.get_extra_info("sockname")
        assert (header.command, header.source, header.source_port) == ("PROXY", *own)
        assert (header.destination, header.destination_port) == (HOST, port)
        assert (header.client, header.verify, header.version) == (SSL_BITS, 0, "TLSv1.3")
        assert header.cn == str(CLIENT_ID)
        assert header.cipher.startswith("TLS_")
        writer.close()
        ended = await server.ended.next()
        assert (ended.bytes_in, ended.bytes_out, ended.reason) == (5, 5, OK), "the header is no byte of the peer's"


async def test_the_application_behind_a_foreign_port_knows_who_calls() -> None:
    told: Told = asyncio.get_running_loop().create_future()
    who = AUTHORITY.issue("spiffe://test.example/ns/outside/sa/curl")
    async with application(listening(told)) as port, mesh(port) as (_client, server):
        server.inbound.proxy_protocol_ports = frozenset({port})
        server.plain_destination = (HOST, port)
        server.policy.offer(EffectivePolicy(foreign=ForeignRule(frozenset({port}))), 2)

        def call() -> tuple[bytes, int]:
            client = ForeignClient(server.plain_listener.port, client_context(who)).handshake()
            answer = client.ask(b"hello", 5)
            own: int = client.sock.getsockname()[1]
            client.sock.close()
            return answer, own

        answer, own_port = await asyncio.to_thread(call)
        assert answer == b"known"
        header, _question = await told
        assert (header.source, header.source_port, header.client) == (HOST, own_port, SSL_BITS)
        assert (header.cn, header.version) == ("spiffe://test.example/ns/outside/sa/curl", "TLSv1.3")
        await server.ended.next()


async def test_a_plaintext_caller_is_told_without_an_identity() -> None:
    told: Told = asyncio.get_running_loop().create_future()
    async with (
        application(listening(told)) as port,
        mesh(port, policy=EffectivePolicy()) as (_client, server),
    ):
        server.inbound.proxy_protocol_ports = frozenset({port})
        server.plain_destination = (HOST, port)
        reader, writer = await asyncio.open_connection(HOST, server.plain_listener.port)
        writer.write(b"hello")
        assert await reader.read() == b"known"
        header, _question = await told
        assert (header.source_port, header.client, header.cn) == (writer.get_extra_info("sockname")[1], None, "")
        writer.close()
        ended = await server.ended.next()
        assert (ended.bytes_in, ended.bytes_out) == (5, 5)


async def test_on_other_ports_nothing_comes_before_the_callers_bytes() -> None:
    first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first.set_result(await reader.readexactly(5))
        writer.close()

    async with application(serve) as port, mesh(port) as (client, server):
        server.inbound.proxy_protocol_ports = frozenset({port + 1})
        _reader, writer = await client.dial()
        writer.write(b"hello")
        assert await first == b"hello"
        writer.close()


@pytest.mark.parametrize("way", ["by tunnel", "in plaintext"])
async def test_a_header_that_the_socket_does_not_take_at_once_still_comes_first_and_whole(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No real header is so long; but a socket may take less than all, and what follows must not suffer."""
    head, body = b"h" * (12 << 20), b"b" * (5 * INITIAL_WINDOW)
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    gate = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        got.set_result(await reader.readexactly(len(head) + len(body)))
        await reader.read()
        writer.close()

    async with application(serve) as port, mesh(port, policy=EffectivePolicy()) as (client, server):
        server.inbound.proxy_protocol_ports = frozenset({port})
        server.plain_destination = (HOST, port)

        def long_header(_connection: Connection) -> bytes:
            return head

        monkeypatch.setattr(server.inbound, "header", long_header)
        listener = client.listener if way == "by tunnel" else server.plain_listener
        _reader, writer = await asyncio.open_connection(HOST, listener.port)
        writer.write(body)
        while not server.inbound.relays:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        [relay] = server.inbound.relays
        gate.set()
        assert await asyncio.wait_for(got, 20) == head + body
        if isinstance(relay, Relay):
            assert relay.stream.recv_window <= relay.stream.window, "he was not credited with bytes that he never sent"
        writer.close()
        assert (await server.ended.next()).reason == OK
