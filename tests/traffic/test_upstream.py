"""Upstreams outside the mesh, dialled with our leaf and an expected identity: real TLS servers on the other side."""

import asyncio
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest

from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.traffic.connection import OK, Connection
from handfast_sidecar.traffic.dial import dial
from handfast_sidecar.traffic.foreign import to_upstream
from support.mesh import AUTHORITY, CLIENT_ID, HOST, identity
from support.pki import Issued, TestAuthority, write_files

LEDGER = SpiffeId.parse("spiffe://test.example/ns/outside/sa/ledger")
GOOD = AUTHORITY.issue(LEDGER)
NAME = "ledger.example"
T = TypeVar("T")


@contextmanager
def tls_server(
    folder: Path, issued: Issued, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Iterator[tuple[socket.socket, ssl.SSLContext]]:
    """A listener, and the context of a server that asks its clients for an SVID."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key, bundle = write_files(folder, issued)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(cadata=AUTHORITY.bundle_pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = newest
    assert bundle.exists()
    with socket.create_server((HOST, 0)) as listener:
        yield listener, context


async def in_thread(work: Callable[[], T]) -> T:
    return await asyncio.wait_for(asyncio.to_thread(work), 20)


@pytest.fixture(autouse=True)
def closed_applications() -> Iterator[None]:
    """Whatever a test leaves open of its applications is closed."""
    yield
    while Upstream.made:
        Upstream.made.pop().close()


class Upstream:
    """An application's connection on its way to an upstream."""

    made: ClassVar[list["Upstream"]] = []

    def __init__(self, port: int) -> None:
        self.made.append(self)
        self.port = port
        self.application, self._accepted = socket.socketpair()
        self._accepted.setblocking(False)
        self.connection = Connection("out", HOST, 1, NAME, port)
        self.ended: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

    async def relay(self, expected: SpiffeId = LEDGER, host: str = NAME) -> None:
        """Connect and begin. Raises HandshakeFailed."""
        target = await dial(HOST, self.port)
        relay = await to_upstream(
            self._accepted,
            target,
            self.connection,
            identity(CLIENT_ID),
            expected,
            host=host,
            standing=Standing(lambda: identity(CLIENT_ID)),
            finished=lambda relay: self.ended.set_result(relay.connection),
        )
        relay.start()

    def close(self) -> None:
        self.application.close()
        self._accepted.close()


async def test_an_upstream_is_dialled_with_our_leaf_and_by_its_name(tmp_path: Path) -> None:
    with tls_server(tmp_path, GOOD) as (listener, context):
        asked: list[str | None] = []
        context.sni_callback = lambda _sock, name, _context: asked.append(name)

        def serve() -> str:
            sock, _peer = listener.accept()
            with context.wrap_socket(sock, server_side=True) as tls:
                got = b""
                while data := tls.recv(1 << 16):
                    got += data
                peer = tls.getpeercert()
                assert peer is not None
                tls.sendall(b"%d" % len(got))
                tls.unwrap().close()
                return str(peer["subjectAltName"])

        serving = asyncio.create_task(in_thread(serve))
        upstream = Upstream(listener.getsockname()[1])
        await upstream.relay()

        def call() -> bytes:
            upstream.application.sendall(bytes(3 << 20))
            upstream.application.shutdown(socket.SHUT_WR)
            return upstream.application.recv(100)

        assert await in_thread(call) == b"%d" % (3 << 20), "our half-close reached it, and its answer us"
        assert str(CLIENT_ID) in await serving
        assert asked == [NAME]
        ended = await upstream.ended
        assert (ended.peer, ended.reason, ended.bytes_out, ended.bytes_in) == (LEDGER, OK, 3 << 20, 7)
        assert ended.protection is not None
        assert ended.protection.version == "TLSv1.3"


async def test_an_upstream_that_is_declared_by_its_address_is_asked_for_no_name(tmp_path: Path) -> None:
    with tls_server(tmp_path, GOOD) as (listener, context):
        asked: list[str | None] = []
        context.sni_callback = lambda _sock, name, _context: asked.append(name)

        def serve() -> None:
            sock, _peer = listener.accept()
            with context.wrap_socket(sock, server_side=True) as tls:
                tls.recv(1)

        serving = asyncio.create_task(in_thread(serve))
        upstream = Upstream(listener.getsockname()[1])
        await upstream.relay(host=HOST)
        upstream.application.sendall(b"x")
        await serving
        assert asked == [None]
        await upstream.ended


AN_HOUR = timedelta(hours=1)
REFUSED = {
    "another identity": (AUTHORITY.issue("spiffe://test.example/ns/outside/sa/other"), "wrong_identity"),
    "another authority": (TestAuthority("test.example").issue(LEDGER), "untrusted"),
    "expired": (AUTHORITY.issue(LEDGER, not_before=datetime.now(UTC) - 2 * AN_HOUR, ttl=AN_HOUR), "expired"),
    "another trust domain": (AUTHORITY.issue("spiffe://other.example/ns/a/sa/b"), "wrong_trust_domain"),
    "no SVID": (AUTHORITY.issue(uris=("https://ledger.example",)), "bad_spiffe_id"),
}


@pytest.mark.parametrize("who", REFUSED)
async def test_an_upstream_that_is_not_who_it_was_declared_to_be_is_refused(who: str, tmp_path: Path) -> None:
    issued, reason = REFUSED[who]
    with tls_server(tmp_path, issued) as (listener, context):

        def serve() -> None:
            sock, _peer = listener.accept()
            with sock, suppress(ssl.SSLError, OSError), context.wrap_socket(sock, server_side=True) as tls:
                assert tls.recv(1) == b"", "it gets none of the application's bytes"

        serving = asyncio.create_task(in_thread(serve))
        upstream = Upstream(listener.getsockname()[1])
        with pytest.raises(HandshakeFailed) as caught:
            await upstream.relay()
        assert caught.value.reason == reason
        await serving


async def test_an_upstream_that_speaks_tls_12_alone_is_refused(tmp_path: Path) -> None:
    with tls_server(tmp_path, GOOD, ssl.TLSVersion.TLSv1_2) as (listener, context):

        def serve() -> None:
            sock, _peer = listener.accept()
            with sock, pytest.raises((ssl.SSLError, OSError)):
                context.wrap_socket(sock, server_side=True)

        serving = asyncio.create_task(in_thread(serve))
        upstream = Upstream(listener.getsockname()[1])
        with pytest.raises(HandshakeFailed) as caught:
            await upstream.relay()
        assert caught.value.reason == "tls_version"
        await serving


async def test_an_upstream_that_speaks_no_tls_is_refused() -> None:
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            sock, _peer = listener.accept()
            with sock:
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        serving = asyncio.create_task(in_thread(serve))
        upstream = Upstream(listener.getsockname()[1])
        with pytest.raises(HandshakeFailed) as caught:
            await upstream.relay()
        assert caught.value.reason == "not_tls"
        await serving


async def test_openssl_s_server_answers_as_an_upstream(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    assert openssl is not None, "openssl is missing: apt-get install openssl"
    certificate, key, _bundle = write_files(tmp_path, GOOD)
    (tmp_path / "roots").write_bytes(AUTHORITY.bundle_pem)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    server = await asyncio.create_subprocess_exec(
        *(openssl, "s_server", "-accept", f"{HOST}:{port}", "-cert", certificate, "-key", key, "-rev"),
        *("-CAfile", tmp_path / "roots", "-Verify", "2", "-verify_return_error"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert server.stdout is not None
        async with asyncio.timeout(20):
            while b"ACCEPT" not in await server.stdout.readline():
                assert server.returncode is None
        upstream = Upstream(port)
        await upstream.relay()

        def call() -> bytes:
            upstream.application.sendall(b"hello\n")
            return upstream.application.recv(100)

        assert await in_thread(call) == b"olleh\n"
        upstream.application.shutdown(socket.SHUT_WR)
        await upstream.ended
    finally:
        server.terminate()
        await server.communicate()
