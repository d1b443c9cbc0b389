"""The TLS profile, with real handshakes over a socket pair."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from OpenSSL import SSL

from handfast_sidecar.config.cipher_suites import KNOWN
from handfast_sidecar.errors import BadCertificate, HandfastError, HandshakeFailed
from handfast_sidecar.identity.contexts import (
    build_contexts,
    check_directory_peer,
    directory_client_context,
    directory_server_context,
    verified_chain,
    verify_failure,
)
from handfast_sidecar.policy.effective import TlsVersion
from handfast_sidecar.wellknown import ALPN_DIRECTORY, ALPN_TUNNEL
from support.pki import Issued, TestAuthority, new_key, plain_config, write_files

AUTHORITY = TestAuthority("test.example")
CONFIG = plain_config()
GOOD = AUTHORITY.issue("spiffe://test.example/ns/shop/sa/cart")


@dataclass
class Side:
    connection: SSL.Connection
    error: Exception | None = None

    @property
    def reason(self) -> str | None:
        found = self.error if isinstance(self.error, HandshakeFailed) else verify_failure(self.connection)
        return found.reason if found is not None else None


@contextmanager
def handshake(client: SSL.Context, server: SSL.Context) -> Iterator[tuple[Side, Side]]:
    """Both sides of a finished or failed handshake; the client reads once, as TLS 1.3 tells it only then."""
    near, far = socket.socketpair()
    sides = Side(SSL.Connection(client, near)), Side(SSL.Connection(server, far))
    sides[0].connection.set_connect_state()
    sides[1].connection.set_accept_state()

    def finish(side: Side, sock: socket.socket) -> None:
        try:
            side.connection.do_handshake()
        except (SSL.Error, HandfastError) as error:
            side.error = error
            sock.shutdown(socket.SHUT_WR)

    with near, far:
        thread = threading.Thread(target=finish, args=(sides[1], far))
        thread.start()
        finish(sides[0], near)
        thread.join(10)
        yield sides


def contexts(issued: Issued, **changes: object) -> tuple[SSL.Context, SSL.Context]:
    material = issued.material(CONFIG)
    built = build_contexts(replace(material, **changes))  # type: ignore[arg-type]
    return built.client, built.server


def test_two_sidecars_meet_under_tls_13_with_the_tunnels_protocol() -> None:
    client, server = contexts(GOOD)
    with handshake(client, server) as (near, far):
        assert (near.error, far.error) == (None, None)
        for side in (near, far):
            assert side.connection.get_protocol_version_name() == "TLSv1.3"
            assert side.connection.get_alpn_proto_negotiated() == ALPN_TUNNEL.encode()
            assert side.connection.get_group_name() == "X25519MLKEM768"
            assert verified_chain(side.connection) == (GOOD.certificate, AUTHORITY.root)
            assert verify_failure(side.connection) is None


def test_a_chain_of_four_certificates_is_accepted() -> None:
    deep = TestAuthority("test.example", intermediates=3)
    client, server = contexts(deep.issue())
    with handshake(client, server) as (near, far):
        assert (near.error, far.error) == (None, None)
        assert len(verified_chain(near.connection)) == 5


def foreign(protocols: list[bytes]) -> SSL.Context:
    """A client with a good certificate that is no sidecar."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.use_certificate(GOOD.certificate)
    context.use_privatekey(GOOD.key)
    if protocols:
        context.set_alpn_protos(protocols)
    return context


def test_another_protocol_is_refused_with_the_alert_of_its_name() -> None:
    with handshake(foreign([b"h2", b"http/1.1"]), contexts(GOOD)[1]) as (near, far):
        assert far.reason == "wrong_alpn"
        assert "no application protocol" in str(near.error)


def test_the_next_good_connection_works_after_refused_ones() -> None:
    client, server = contexts(GOOD)
    for bad in (foreign([]), foreign([b"h2"])):
        with handshake(bad, server) as (_near, far):
            assert far.error is not None
    with handshake(client, server) as (near, far):
        assert (near.error, far.error) == (None, None)


def test_material_that_openssl_does_not_take_is_a_bad_certificate() -> None:
    with pytest.raises(BadCertificate, match="OpenSSL does not take") as caught:
        contexts(GOOD, key=new_key())
    assert caught.value.reason == "unusable"


@pytest.mark.parametrize("suite", ["", *KNOWN])
def test_under_tls_12_the_cipher_is_nearest_to_the_allowed_suite_and_never_without_forward_secrecy(suite: str) -> None:
    server = build_contexts(GOOD.material(CONFIG), suite).foreign_server[TlsVersion.TLS_1_2]
    client, weak = foreign([]), foreign([])
    for each in (client, weak):
        each.set_max_proto_version(SSL.TLS1_2_VERSION)
    weak.set_cipher_list(b"AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    nearest = {
        "TLS_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    }
    with handshake(client, server) as (near, far):
        assert (near.error, far.error) == (None, None)
        assert near.connection.get_cipher_name() == nearest.get(suite, "ECDHE-ECDSA-AES256-GCM-SHA384")
    with handshake(weak, server) as (_near, far):
        assert "no shared cipher" in str(far.error)


def test_a_session_cannot_be_resumed() -> None:
    """With a client that does all it can: it keeps what the server sends and offers it again."""
    client, server = foreign([ALPN_TUNNEL.encode()]), contexts(GOOD)[1]
    client.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
    with handshake(client, server) as (near, far):
        far.connection.send(b"hello")
        assert near.connection.recv(5) == b"hello"
        session = near.connection.get_session()
    assert session is not None
    near_sock, far_sock = socket.socketpair()
    with near_sock, far_sock:
        again, other = SSL.Connection(client, near_sock), SSL.Connection(server, far_sock)
        again.set_session(session)
        again.set_connect_state()
        other.set_accept_state()
        thread = threading.Thread(target=other.do_handshake)
        thread.start()
        again.do_handshake()
        thread.join(10)
        assert SSL._lib.SSL_session_reused(other._ssl) == 0  # type: ignore[attr-defined]


async def meet(client: ssl.SSLContext, server: ssl.SSLContext) -> list[object]:
    """What both ends of a directory stream find: the peer's identity, or the error."""
    found: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def accepted(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.set_result(_peer(writer))
        writer.close()

    listener = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=server)
    async with listener, asyncio.timeout(10):
        port = listener.sockets[0].getsockname()[1]
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        near = _peer(writer)
        far = await found
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return [near, far]


def _peer(writer: asyncio.StreamWriter) -> object:
    try:
        return str(check_directory_peer(writer.get_extra_info("ssl_object"), "test.example").leaf.spiffe_id)
    except HandshakeFailed as error:
        return error.reason


DIRECTORY = AUTHORITY.issue("spiffe://test.example/ns/handfast-system/sa/handfast-directory")


async def test_a_sidecar_and_the_directory_know_each_other(tmp_path: Path) -> None:
    server = directory_server_context(*write_files(tmp_path, DIRECTORY))
    client = directory_client_context(GOOD.material(CONFIG))
    assert await meet(client, server) == [
        "spiffe://test.example/ns/handfast-system/sa/handfast-directory",
        "spiffe://test.example/ns/shop/sa/cart",
    ]


def test_the_directorys_profile_is_tls_13_with_certificates_and_without_tickets(tmp_path: Path) -> None:
    server = directory_server_context(*write_files(tmp_path, DIRECTORY))
    for context in (server, directory_client_context(GOOD.material(CONFIG))):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.verify_flags & ssl.VERIFY_X509_STRICT
    assert server.num_tickets == 0
    assert ALPN_DIRECTORY == "handfast-directory/1"
