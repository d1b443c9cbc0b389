"""The seam to TLS: whichever engine carries the bytes, and whichever is at the other end, the rules are the same."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from select import POLLIN, POLLOUT, poll
from types import SimpleNamespace

import pytest

from handfast_sidecar.identity.contexts import build_contexts
from handfast_sidecar.tunnel import direct
from handfast_sidecar.tunnel.direct import DirectTls
from handfast_sidecar.tunnel.tls import NO_DATA, RECORD_BYTES, TlsConnection, Want
from support.pki import TestAuthority, plain_config

MATERIAL = TestAuthority().issue("spiffe://test.example/ns/shop/sa/cart").material(plain_config())
CONTEXTS = build_contexts(MATERIAL)
ENGINES = {"public": TlsConnection, "direct": DirectTls}


@dataclass
class End:
    """One end of a connection whose handshake is done."""

    tls: TlsConnection
    sock: socket.socket

    def send(self, data: bytes) -> None:
        """All of it; for what surely fits into the socket."""
        assert self.tls.write_from(memoryview(data)) == len(data)

    def wait(self, events: int = POLLIN) -> None:
        """Until the socket is ready."""
        poller = poll()
        poller.register(self.sock, events)
        assert poller.poll(5000), "the socket stays silent"

    def read(self, room: int = 8 * RECORD_BYTES) -> bytes:
        """What one `read_into` gives, once there is something."""
        buffer = memoryview(bytearray(room))
        while (count := self.tls.read_into(buffer)) == NO_DATA:
            self.wait()
        return bytes(buffer[:count])


def handshake(near: End, far: End) -> None:
    """Both sides in turn: each goes on as far as the other lets it."""
    waiting: list[Want | None] = [Want.READ, Want.READ]
    for _ in range(20):
        waiting = [each.tls.handshake() for each in (near, far)]
        if waiting == [None, None]:
            return
    raise AssertionError(f"the handshake does not end: {waiting}")


@pytest.fixture(params=["public to public", "public to direct", "direct to public", "direct to direct"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[End, End]]:
    """A client and a server, in every pairing of the engines."""
    client, server = (ENGINES[name] for name in request.param.split(" to "))
    near_sock, far_sock = socket.socketpair()
    with near_sock, far_sock:
        near_sock.setblocking(False)
        far_sock.setblocking(False)
        near = End(client(CONTEXTS.client, near_sock, server=False), near_sock)
        far = End(server(CONTEXTS.server, far_sock, server=True), far_sock)
        handshake(near, far)
        yield near, far


def test_where_there_is_nothing_yet_there_is_no_data(ends: tuple[End, End]) -> None:
    for end in ends:
        assert end.tls.read_into(memoryview(bytearray(RECORD_BYTES))) == NO_DATA
        assert not end.tls.has_more


def test_bytes_pass_in_both_directions(ends: tuple[End, End]) -> None:
    near, far = ends
    near.send(b"ping")
    assert far.read() == b"ping"
    far.send(b"pong")
    assert near.read() == b"pong"


def test_several_records_are_read_at_once(ends: tuple[End, End]) -> None:
    near, far = ends
    payload = os.urandom(3 * RECORD_BYTES + 1000)
    near.send(payload)
    assert far.read(5 * RECORD_BYTES) == payload
    assert not far.tls.has_more


def test_a_full_view_leaves_more_to_ask_for(ends: tuple[End, End]) -> None:
    near, far = ends
    payload = os.urandom(3 * RECORD_BYTES)
    near.send(payload)
    first = far.read(2 * RECORD_BYTES)
    assert far.tls.has_more
    assert first + far.read(2 * RECORD_BYTES) == payload
    assert far.tls.read_into(memoryview(bytearray(RECORD_BYTES))) == NO_DATA
    assert not far.tls.has_more


def test_a_record_that_is_not_complete_is_no_data(ends: tuple[End, End]) -> None:
    near, far = ends
    near.send(b"x" * 1000)
    half = far.sock.recv(500, socket.MSG_PEEK)
    wire = far.sock.recv(65536)
    assert wire.startswith(half)
    near.sock.send(half)
    assert far.tls.read_into(memoryview(bytearray(RECORD_BYTES))) == NO_DATA
    near.sock.send(wire[500:])
    assert far.read() == b"x" * 1000


def test_a_peer_that_says_goodbye_is_an_end(ends: tuple[End, End]) -> None:
    near, far = ends
    near.tls.close_notify()
    assert far.read() == b""
    assert not far.tls.has_more
    assert far.tls.read_into(memoryview(bytearray(RECORD_BYTES))) == 0


def test_what_came_before_the_goodbye_is_handed_on_first(ends: tuple[End, End]) -> None:
    near, far = ends
    payload = os.urandom(RECORD_BYTES)
    near.send(payload)
    near.tls.close_notify()
    near.sock.close()
    assert far.read() == payload
    assert far.tls.has_more, "the socket may stay silent now"
    assert far.read() == b""


def test_what_came_before_an_abrupt_end_is_handed_on_first(ends: tuple[End, End]) -> None:
    near, far = ends
    payload = os.urandom(2 * RECORD_BYTES)
    near.send(payload)
    near.sock.close()
    assert far.read() == payload
    assert far.tls.has_more
    with pytest.raises(ConnectionResetError, match="TLS: "):
        far.read()


def test_what_came_before_garbage_is_handed_on_first(ends: tuple[End, End]) -> None:
    near, far = ends
    payload = os.urandom(RECORD_BYTES)
    near.send(payload)
    near.sock.send(b"GET / HTTP/1.1\r\n\r\n")
    assert far.read() == payload
    assert far.tls.has_more
    with pytest.raises(ConnectionResetError, match="bad record type"):
        far.read()


def test_garbage_is_an_error_that_says_what_it_is(ends: tuple[End, End]) -> None:
    near, far = ends
    near.sock.send(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ConnectionResetError, match="TLS: bad record type"):
        far.read()
    with pytest.raises(ConnectionResetError):
        far.read()


def test_a_record_that_was_tampered_with_is_an_error(ends: tuple[End, End]) -> None:
    near, far = ends
    near.send(b"pay 1 to Alice")
    wire = bytearray(far.sock.recv(65536))
    wire[-1] ^= 1
    near.sock.send(wire)
    with pytest.raises(ConnectionResetError, match=r"TLS: .*bad record mac"):
        far.read()


def test_a_full_socket_takes_less_and_goes_on_from_there(ends: tuple[End, End]) -> None:
    near, far = ends
    payload = os.urandom(4 << 20)
    sent, received = near.tls.write_from(memoryview(payload)), bytearray()
    assert 0 < sent < len(payload)
    assert near.tls.write_from(memoryview(payload)[sent:]) == 0, "nobody has read yet"
    while len(received) < len(payload):
        received += far.read()
        if sent < len(payload):
            # Another address each time: the arena's view is a new one too.
            sent += near.tls.write_from(memoryview(payload)[sent : sent + (1 << 20)])
    assert sent == len(payload)
    assert received == payload


def test_a_full_socket_is_writable_again_when_the_peer_has_read(ends: tuple[End, End]) -> None:
    near, far = ends
    payload = bytes(4 << 20)
    sent = near.tls.write_from(memoryview(payload))
    while far.tls.read_into(memoryview(bytearray(8 * RECORD_BYTES))) > 0:
        pass
    near.wait(POLLOUT)
    assert near.tls.write_from(memoryview(payload)[sent:]) > 0


def test_writing_to_a_peer_that_is_gone_is_an_error(ends: tuple[End, End]) -> None:
    near, far = ends
    far.sock.close()
    with pytest.raises(OSError, match="TLS: "):
        near.tls.write_from(memoryview(b"anybody there?"))


def test_the_installed_libraries_are_called_without_a_detour() -> None:
    assert direct.usable()
    assert direct.ENGINE is DirectTls


@pytest.mark.parametrize("missing", direct._NEEDED)
def test_a_binding_that_lacks_a_function_is_not_called(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {name: getattr(direct._lib, name) for name in direct._NEEDED if name != missing}
    monkeypatch.setattr(direct, "_lib", SimpleNamespace(**there))
    assert not direct.usable()


def test_a_binding_with_other_numbers_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {name: getattr(direct._lib, name) for name in direct._NEEDED} | {"SSL_ERROR_WANT_READ": 7}
    monkeypatch.setattr(direct, "_lib", SimpleNamespace(**changed))
    assert not direct.usable()


@pytest.mark.parametrize("which", ["_lib", "_ffi"])
def test_no_binding_is_not_called(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, which, None)
    assert not direct.usable()
