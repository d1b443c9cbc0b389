"""Clients without a sidecar on ports that a policy opens to them: real TLS from the other side, on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from cryptography import x509
from OpenSSL import SSL

from handfast_sidecar.policy.effective import EffectivePolicy, ForeignRule, Mode, ModeRule, TlsVersion
from handfast_sidecar.traffic import backlog, foreign
from handfast_sidecar.traffic.backlog import Backlog
from handfast_sidecar.traffic.connection import OK, Connection, Protection
from handfast_sidecar.traffic.tls_relay import TlsRelay
from handfast_sidecar.tunnel import handshake
from handfast_sidecar.tunnel.direct import DirectTls
from handfast_sidecar.tunnel.tls import TlsConnection
from support.foreign import ForeignClient, client_context
from support.mesh import (
    AUTHORITY,
    CLIENT_ID,
    HOST,
    SERVER_ID,
    STRICT,
    Server,
    application,
    echo,
    greet,
    identity,
    is_reset,
)
from support.pki import Issued, TestAuthority, usage

CURL_ID = "spiffe://test.example/ns/outside/sa/curl"
ORIGIN = "MTLSPolicy shop/orders"
GOOD = AUTHORITY.issue(CURL_ID)
T = TypeVar("T")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


def policy(port: int, mode: Mode = Mode.STRICT, oldest: TlsVersion = TlsVersion.TLS_1_3) -> EffectivePolicy:
    return EffectivePolicy(ModeRule(mode, ORIGIN), {}, ForeignRule(frozenset({port}), oldest, ORIGIN))


@asynccontextmanager
async def serving(
    handler: Handler, mode: Mode = Mode.STRICT, oldest: TlsVersion = TlsVersion.TLS_1_3
) -> AsyncIterator[tuple[Server, int]]:
    """A sidecar before an application on a foreign port, and the port that clients dial."""
    async with application(handler) as port:
        server = Server(identity(SERVER_ID), policy(port, mode, oldest))
        server.plain_destination = (HOST, port)
        try:
            yield server, server.plain_listener.port
        finally:
            server.close()
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    """Whatever a test leaves open of its clients is closed."""
    yield
    while ForeignClient.opened:
        ForeignClient.opened.pop().close()


async def until(true: Callable[[], object]) -> None:
    """Let the loop turn until something is so; pytest's time-out is the limit."""
    while not true():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)


async def outside(work: Callable[[], T]) -> T:
    """What a client does, in a thread of its own."""
    return await asyncio.wait_for(asyncio.to_thread(work), 20)


async def test_a_client_with_an_svid_is_served_and_known() -> None:
    async with serving(echo) as (server, port):

        def call() -> bytes:
            client = ForeignClient(port, client_context(GOOD)).handshake()
            answer = client.ask(b"hello", 5)
            client.finish()
            return answer + client.read_to_end()

        assert await outside(call) == b"hello"
        ended = await server.ended.next()
        assert (str(ended.peer), ended.bytes_in, ended.bytes_out, ended.reason) == (CURL_ID, 5, 5, OK)
        assert ended.rule == ORIGIN
        assert ended.protection is not None
        assert (ended.protection.version, ended.protection.group) == ("TLSv1.3", "X25519MLKEM768")
        assert ended.tunnel is None


@pytest.mark.parametrize("engine", [DirectTls, TlsConnection])
async def test_much_passes_both_ways_through_either_engine(
    engine: type[TlsConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "ENGINE", engine)
    size = 20 << 20
    sent = bytes(range(256)) * (size // 256)
    async with serving(echo) as (server, port):

        def call() -> bytes:
            client = ForeignClient(port, client_context(GOOD)).handshake()
            # In pieces: both ways are full when nobody reads, and then nobody writes.
            answer = b"".join(client.ask(sent[at : at + (1 << 16)], 1 << 16) for at in range(0, size, 1 << 16))
            client.finish()
            client.read_to_end()
            return answer

        assert await outside(call) == sent
        ended = await server.ended.next()
        assert (ended.bytes_in, ended.bytes_out, ended.reason) == (size, size, OK)


async def test_a_client_that_has_ended_still_gets_its_whole_answer_however_late_it_reads() -> None:
    """Its answer fills every buffer before it reads: the end, which comes last, must not be lost for want of room."""
    size = 12 << 20
    written = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b"ask"
        writer.write(bytes(size))
        writer.write_eof()
        written.set()
        await writer.drain()
        writer.close()

    async with serving(answer) as (server, port):

        def call() -> ForeignClient:
            client = ForeignClient(port, client_context(GOOD)).handshake()
            client.tls.sendall(b"ask")
            client.finish()
            return client

        client = await outside(call)
        await written.wait()
        [relay] = server.inbound.relays
        assert isinstance(relay, TlsRelay)
        await until(lambda: not relay._dialler.other._reading)
        assert await outside(client.read_to_end) == bytes(size)
        ended = await server.ended.next()
        assert (ended.bytes_in, ended.bytes_out, ended.reason) == (3, size, OK)


def fill(sock: socket.socket) -> int:
    """Put bytes into a socket, past whoever owns it, until it takes no more; how many."""
    size = 0
    with suppress(BlockingIOError):
        while True:
            size += sock.send(bytes(1 << 16))
    return size


async def relay_of(server: Server) -> TlsRelay:
    """The one that runs."""
    await until(lambda: server.inbound.relays)
    [relay] = server.inbound.relays
    assert isinstance(relay, TlsRelay)
    return relay


async def test_an_end_for_which_the_clients_socket_has_no_room_is_told_when_it_has() -> None:
    gate = asyncio.Event()

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"!")
        await gate.wait()
        writer.write_eof()
        await reader.read()
        writer.close()

    async with serving(end) as (server, port):
        client = await outside(lambda: ForeignClient(port, client_context(GOOD)).handshake())
        relay = await relay_of(server)
        assert await outside(lambda: client.read(1)) == b"!", "and what the handshake left behind"
        size = fill(relay._dialler.sock)
        gate.set()
        await until(lambda: relay._dialler._pending is not None)

        def read() -> bytes:
            assert len(client.sock.recv(size, socket.MSG_WAITALL)) == size
            return client.read_to_end()

        assert await outside(read) == b"", "close_notify came, and not a bare FIN"
        client.finish()
        assert (await server.ended.next()).reason == OK


@pytest.mark.parametrize("application_is_slow", [False, True])
async def test_a_close_notify_that_comes_with_the_last_record_is_heard_though_no_fin_follows(
    application_is_slow: bool,
) -> None:
    deaf, gate = asyncio.Event(), asyncio.Event()
    got: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    record = 16 << 10

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        deaf.set()
        await gate.wait()
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        got.set_result(len(await reader.read()))
        writer.close()

    async with serving(count) as (server, port):
        client = await outside(lambda: ForeignClient(port, client_context(GOOD)).handshake())
        relay = await relay_of(server)
        await deaf.wait()
        filled = fill(relay._dialler.other.sock) if application_is_slow else 0
        # In the loop's own thread, so that all is there when the loop looks.
        client.tls.sendall(bytes(record))
        client.tls.shutdown()
        if application_is_slow:
            await until(lambda: relay._dialler.other._pending is not None)
        gate.set()
        assert await asyncio.wait_for(got, 10) == filled + record
        assert await outside(client.read_to_end) == b""
        assert (await server.ended.next()).reason == OK


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_after_the_servers_end_the_client_may_still_send(version: str) -> None:
    got: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def end_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"enough")
        writer.write_eof()
        got.set_result(len(await reader.read()))
        writer.close()

    async with serving(end_first, oldest=TlsVersion.TLS_1_2) as (server, port):

        def call() -> None:
            client = ForeignClient(port, client_context(GOOD, version)).handshake()
            assert client.read_to_end() == b"enough"
            client.tls.sendall(bytes(1 << 20))
            client.finish()
            client.sock.close()

        await outside(call)
        assert await got == 1 << 20
        assert (await server.ended.next()).reason == OK


async def test_a_slow_client_stops_the_application_and_not_the_memory() -> None:
    stuck = asyncio.Event()

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
        except ConnectionError:
            stuck.set()

    async with serving(flood) as (server, port):
        client = await outside(lambda: ForeignClient(port, client_context(GOOD)).handshake())
        await until(lambda: server.inbound.relays)
        [relay] = server.inbound.relays
        assert isinstance(relay, TlsRelay)
        own = relay._dialler.other
        await until(lambda: not own._reading)
        held = relay._dialler._pending
        assert held is not None
        assert len(held) <= 1 << 16
        assert backlog.POD.held == len(held)
        client.abort()
        await asyncio.wait_for(stuck.wait(), 10)
        assert (await server.ended.next()).reason == "aborted"
        assert backlog.POD.held == 0


@pytest.mark.parametrize("way", ["a foreign client", "in plaintext"])
async def test_without_room_for_what_waits_a_connection_ends_and_leaves_nothing_behind(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = Backlog(limit=1000)
    monkeypatch.setattr(backlog, "POD", pod)

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()

    async with serving(flood, Mode.PERMISSIVE) as (server, port):
        if way == "in plaintext":
            ForeignClient(port, client_context(None)).sock.sendall(b"plain")
        else:
            await outside(lambda: ForeignClient(port, client_context(GOOD)).handshake())
        assert (await server.ended.next()).reason == "out_of_memory"
        assert (pod.held, pod._holders) == (0, 0)


async def test_a_slow_application_stops_the_client_and_not_the_memory() -> None:
    gate = asyncio.Event()
    size = 16 << 20

    async def wait_and_count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        total = 0
        while data := await reader.read(1 << 16):
            total += len(data)
        writer.write(b"%d" % total)
        writer.close()

    async with serving(wait_and_count) as (server, port):
        client = await outside(lambda: ForeignClient(port, client_context(GOOD)).handshake())

        def send() -> bytes:
            client.tls.sendall(bytes(size))
            client.finish()
            return client.read_to_end()

        sending = asyncio.create_task(outside(send))
        await until(lambda: server.inbound.relays)
        [relay] = server.inbound.relays
        assert isinstance(relay, TlsRelay)
        await until(lambda: not relay._dialler._reading)
        held = relay._dialler.other._pending
        assert held is not None
        assert len(held) <= 1 << 16
        gate.set()
        assert await sending == b"%d" % size


async def until_abort(reader: asyncio.StreamReader, seen: "asyncio.Future[object]") -> None:
    try:
        await reader.read()
        seen.set_result(EOFError)
    except ConnectionError as error:
        seen.set_result(type(error))


@pytest.mark.parametrize("how", ["by RST", "without close_notify"])
async def test_an_abort_by_the_client_is_an_abort_for_the_application(how: str) -> None:
    seen: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"!")
        await until_abort(reader, seen)
        writer.close()

    async with serving(wait_for_end) as (server, port):

        def call() -> None:
            client = ForeignClient(port, client_context(GOOD)).handshake()
            assert client.read(1) == b"!"
            client.abort() if how == "by RST" else client.sock.close()

        await outside(call)
        assert await asyncio.wait_for(seen, 10) is ConnectionResetError
        assert (await server.ended.next()).reason == "aborted"


async def test_an_abort_by_the_application_is_an_abort_for_the_client() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with serving(hang_up) as (server, port):

        def call() -> str:
            client = ForeignClient(port, client_context(GOOD)).handshake()
            with pytest.raises(SSL.SysCallError) as caught:
                client.ask(b"?", 1)
            return str(caught.value)

        assert "ECONNRESET" in await outside(call)
        assert (await server.ended.next()).reason == "aborted"


AN_HOUR = timedelta(hours=1)
REFUSED: dict[str, tuple[Issued | None, str]] = {
    "no certificate": (None, "no_certificate"),
    "another authority": (TestAuthority("test.example").issue(CURL_ID), "untrusted"),
    "expired": (AUTHORITY.issue(CURL_ID, not_before=datetime.now(UTC) - 2 * AN_HOUR, ttl=AN_HOUR), "expired"),
    "not valid yet": (AUTHORITY.issue(CURL_ID, not_before=datetime.now(UTC) + AN_HOUR), "not_yet_valid"),
    "no SPIFFE ID": (AUTHORITY.issue(uris=(), names=(x509.DNSName("curl.example"),)), "no_uri_san"),
    "the root itself": (Issued((AUTHORITY.root,), AUTHORITY.key, b""), "ca_as_leaf"),
    "a CA that would be a leaf": (
        AUTHORITY.issue(CURL_ID, ca=True, key_usage=usage(digital_signature=True, key_cert_sign=True)),
        "ca_as_leaf",
    ),
    "another trust domain": (AUTHORITY.issue("spiffe://other.example/ns/a/sa/b"), "wrong_trust_domain"),
    "two SPIFFE IDs": (AUTHORITY.issue(uris=(CURL_ID, CURL_ID + "2")), "many_uri_sans"),
}


@pytest.mark.parametrize("who", REFUSED)
async def test_who_cannot_prove_an_identity_of_the_trust_domain_is_refused_and_told_apart(who: str) -> None:
    issued, reason = REFUSED[who]
    async with serving(echo) as (server, port):

        def call() -> None:
            client = ForeignClient(port, client_context(issued))
            with pytest.raises((SSL.Error, OSError)):
                client.handshake().ask(b"hello", 5)

        await outside(call)
        ended = await server.ended.next()
        assert (ended.refused, ended.reason, ended.bytes_in) == (True, f"handshake_{reason}", 0)


@pytest.mark.parametrize("who", REFUSED)
async def test_under_tls_12_the_same_are_refused_for_the_same_reasons(who: str) -> None:
    issued, reason = REFUSED[who]
    async with serving(echo, oldest=TlsVersion.TLS_1_2) as (server, port):

        def call() -> None:
            client = ForeignClient(port, client_context(issued, "1.2"))
            with pytest.raises((SSL.Error, OSError)):
                client.handshake().ask(b"hello", 5)

        await outside(call)
        ended = await server.ended.next()
        assert (ended.refused, ended.reason) == (True, f"handshake_{reason}")


async def test_tls_12_is_refused_where_the_policy_does_not_name_it() -> None:
    async with serving(echo) as (server, port):

        def call() -> str:
            with pytest.raises(SSL.Error) as caught:
                ForeignClient(port, client_context(GOOD, "1.2")).handshake()
            return str(caught.value)

        assert "protocol version" in await outside(call), "the client is told"
        assert (await server.ended.next()).reason == "handshake_tls_version"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_where_the_policy_names_12_both_versions_are_served(version: str) -> None:
    async with serving(echo, oldest=TlsVersion.TLS_1_2) as (server, port):

        def call() -> bytes:
            client = ForeignClient(port, client_context(GOOD, version)).handshake()
            answer = client.ask(b"hello", 5)
            client.finish()
            return answer + client.read_to_end()

        assert await outside(call) == b"hello"
        ended = await server.ended.next()
        assert ended.protection is not None
        assert (ended.protection.version, ended.reason) == (f"TLSv{version}", OK)
        assert "GCM" in ended.protection.cipher
        assert ended.protection.group


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_session_is_never_resumed(version: str) -> None:
    """By a client that does all it can: it keeps what the server sends, and offers it again."""
    async with serving(echo, oldest=TlsVersion.TLS_1_2) as (server, port):
        context = client_context(GOOD, version)

        def call() -> list[int]:
            first = ForeignClient(port, context).handshake()
            first.ask(b"hello", 5)
            session = first.tls.get_session()
            assert session is not None
            again = ForeignClient(port, context, session).handshake()
            again.ask(b"hello", 5)
            lib = SSL._lib  # type: ignore[attr-defined]
            reused = [lib.SSL_session_reused(each.tls._ssl) for each in (first, again)]
            for each in (first, again):
                each.finish()
                each.read_to_end()
            return reused

        assert await outside(call) == [0, 0]
        for _ in range(2):
            assert (await server.ended.next()).reason == OK


async def test_renegotiation_is_not_granted() -> None:
    async with serving(echo, oldest=TlsVersion.TLS_1_2) as (server, port):

        def call() -> None:
            client = ForeignClient(port, client_context(GOOD, "1.2")).handshake()
            client.ask(b"hello", 5)
            client.tls.renegotiate()
            with pytest.raises(SSL.Error, match="no renegotiation"):
                client.tls.do_handshake()
            client.abort()

        await outside(call)
        ended = await server.ended.next()
        assert (ended.bytes_in, ended.refused) == (5, False)


async def test_a_hello_that_comes_byte_by_byte_is_a_hello() -> None:
    async with serving(echo) as (server, port):

        def call() -> bytes:
            context = client_context(GOOD)
            sock = socket.create_connection((HOST, port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls = SSL.Connection(context, None)
            tls.set_connect_state()
            answer = b""
            while answer != b"hello":
                try:
                    tls.do_handshake()
                    tls.send(b"hello")
                    _drip(tls, sock)
                    answer = tls.recv(5)
                except SSL.WantReadError:
                    _drip(tls, sock)
                    tls.bio_write(sock.recv(1 << 16))
            sock.close()
            return answer

        assert await outside(call) == b"hello"
        assert (await server.ended.next()).bytes_in >= 5


def _drip(tls: SSL.Connection, sock: socket.socket) -> None:
    try:
        for byte in tls.bio_read(1 << 16):
            sock.sendall(bytes([byte]))
    except SSL.WantReadError:
        return


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\x00"], ids=["http", "a zero"])
async def test_what_is_no_tls_is_plaintext_and_refused_under_strict(first: bytes) -> None:
    async with serving(echo) as (server, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(first)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        ended = await server.ended.next()
        assert (ended.refused, ended.reason, ended.peer) == (True, "plaintext_refused", None)
        writer.close()


async def test_what_is_no_tls_passes_as_plaintext_under_permissive() -> None:
    async with serving(echo, Mode.PERMISSIVE) as (server, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"plain")
        assert await reader.readexactly(5) == b"plain"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        ended = await server.ended.next()
        assert (ended.bytes_in, ended.bytes_out, ended.protection, ended.reason) == (5, 5, None, OK)


async def test_a_client_that_ends_without_a_byte_is_plaintext() -> None:
    async with serving(echo, Mode.PERMISSIVE) as (server, port):
        _reader, writer = await asyncio.open_connection(HOST, port)
        writer.close()
        ended = await server.ended.next()
        assert (ended.refused, ended.protection) == (False, None)


async def test_a_server_that_speaks_first_is_heard_after_the_wait_for_a_first_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(foreign, "FIRST_BYTE_S", 0.05)
    async with serving(greet, Mode.PERMISSIVE) as (_server, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await asyncio.wait_for(reader.readline(), 10) == b"220 ready\r\n"
        writer.write(b"EHLO\r\n")
        assert await reader.readline() == b"250 EHLO\r\n"
        writer.close()


async def test_under_strict_a_silent_client_is_refused_after_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "FIRST_BYTE_S", 0.05)
    async with serving(greet) as (server, port):
        assert await is_reset(port)
        assert (await server.ended.next()).reason == "plaintext_refused"


async def test_a_client_that_falls_silent_after_its_first_byte_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "HANDSHAKE_TIMEOUT_S", 0.05)
    async with serving(echo) as (server, port):
        _reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"\x16\x03\x01")
        assert (await server.ended.next()).reason == "handshake_timeout"
        writer.close()


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (b"\x16" + b"\xff" * 600, "not_tls"),
        (b"\x16\x03\x01\x00\x05hello" + b"\0" * 600, "not_tls"),
        (b"\x16GET / HTTP/1.1\r\n\r\n", "not_tls"),
    ],
)
async def test_garbage_after_the_first_byte_is_refused(garbage: bytes, reason: str) -> None:
    async with serving(echo, Mode.PERMISSIVE) as (server, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(garbage)
        with suppress(ConnectionResetError):
            await reader.read()
        ended = await server.ended.next()
        assert (ended.refused, ended.reason) == (True, f"handshake_{reason}")
        writer.close()


async def test_a_client_that_leaves_in_the_handshake_is_refused() -> None:
    async with serving(echo) as (server, port):
        _reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"\x16\x03\x01")
        writer.write_eof()
        assert (await server.ended.next()).reason == "handshake_closed"
        writer.close()


async def test_handshakes_wait_for_their_turn_and_their_time_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "HANDSHAKES", 1)
    monkeypatch.setattr(foreign, "HANDSHAKE_TIMEOUT_S", 0.1)
    async with serving(echo) as (server, port):
        writers = []
        for _ in range(2):
            _reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(b"\x16")
            writers.append(writer)
        assert {(await server.ended.next()).reason for _ in writers} == {"handshake_timeout"}
        for writer in writers:
            writer.close()
        assert await outside(lambda: ForeignClient(port, client_context(GOOD)).handshake().ask(b"hello", 5)) == b"hello"


async def test_past_the_bound_foreign_clients_are_refused_and_who_ends_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(foreign, "MAX_FOREIGN", 1)
    async with serving(echo) as (server, port):
        first = await outside(lambda: ForeignClient(port, client_context(GOOD)).handshake())
        assert await outside(lambda: first.ask(b"a", 1)) == b"a"

        def too_many() -> None:
            with pytest.raises((SSL.Error, OSError)):
                ForeignClient(port, client_context(GOOD)).handshake().ask(b"a", 1)

        await outside(too_many)
        assert (await server.ended.next()).reason == "handshake_too_many_foreign"
        await outside(first.finish)
        await outside(first.read_to_end)
        assert (await server.ended.next()).reason == OK
        assert await outside(lambda: ForeignClient(port, client_context(GOOD)).handshake().ask(b"b", 1)) == b"b"


async def test_a_peer_that_the_policy_does_not_let_in_is_denied_by_name() -> None:
    async with serving(echo) as (server, port):
        server.inbound.judgement._trust_domain = lambda: "elsewhere.example"

        def call() -> None:
            with pytest.raises((SSL.Error, OSError)):
                ForeignClient(port, client_context(GOOD)).handshake().ask(b"hello", 5)

        await outside(call)
        ended = await server.ended.next()
        assert (ended.refused, ended.reason, str(ended.peer), ended.rule) == (True, "denied", CURL_ID, ORIGIN)


async def test_a_port_that_the_policy_closes_during_a_handshake_is_closed() -> None:
    async with serving(echo) as (server, _port):
        secured = Protection("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768")
        connection = Connection("in", HOST, 1, *server.plain_destination, peer=CLIENT_ID, protection=secured)
        assert server.inbound.judge_peer(connection).allowed
        server.policy.offer(STRICT, 2)
        verdict = server.inbound.judge_peer(connection)
        assert (verdict.allowed, verdict.reason) == (False, "denied")


async def test_a_foreign_port_that_nothing_serves_is_refused_with_its_reason() -> None:
    async with serving(echo) as (server, port):
        with socket.create_server((HOST, 0)) as closed:
            nobody = closed.getsockname()[1]
        server.policy.offer(policy(nobody), 2)
        server.plain_destination = (HOST, nobody)

        def call() -> None:
            with pytest.raises((SSL.Error, OSError)):
                ForeignClient(port, client_context(GOOD)).handshake().ask(b"hello", 5)

        await outside(call)
        assert (await server.ended.next()).reason == "connection_refused"


async def test_a_connection_ends_with_its_peers_certificate() -> None:
    short = AUTHORITY.issue(CURL_ID, ttl=timedelta(seconds=2))
    async with serving(echo) as (server, port):

        def call() -> None:
            client = ForeignClient(port, client_context(short)).handshake()
            assert client.ask(b"hello", 5) == b"hello"
            with pytest.raises(SSL.SysCallError):
                client.read(1)

        await outside(call)
        ended = await server.ended.next()
        assert (ended.reason, ended.refused) == ("expired", False)


async def test_a_new_certificate_is_presented_to_the_next_client() -> None:
    async with serving(echo) as (server, port):
        shown = []
        for who in (server.who, identity(CLIENT_ID)):
            server.who = who

            def call() -> str:
                client = ForeignClient(port, client_context(GOOD)).handshake()
                certificate = client.tls.get_peer_certificate(as_cryptography=True)
                assert certificate is not None
                return f"{certificate.serial_number:x}"

            shown.append((await outside(call), who.leaf.serial))
        assert all(found == expected for found, expected in shown)
        assert shown[0] != shown[1]


async def test_only_the_ports_that_the_policy_names_are_looked_at() -> None:
    """On any other port a ClientHello is the application's own, as every byte is."""
    async with serving(echo, Mode.PERMISSIVE) as (server, port):
        server.policy.offer(EffectivePolicy(), 2)
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"\x16\x03\x01")
        assert await reader.readexactly(3) == b"\x16\x03\x01"
        writer.close()


async def test_what_waits_for_its_first_byte_ends_with_the_proxy() -> None:
    async with serving(echo) as (server, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        await until(lambda: server.inbound._foreign_port().waiting)
        server.inbound.stop("shutting_down")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert (await server.ended.next()).reason == "shutting_down"
        writer.close()
