"""Frames, as RFC 6455 has them."""

import socket
from collections.abc import Iterator

import pytest

from handfast_lab.kubectl.websocket import WebSocket


@pytest.fixture
def ends() -> Iterator[tuple[WebSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as reader:
        yield WebSocket(reader, ours), theirs


def test_a_message_in_pieces_is_one(ends: tuple[WebSocket, socket.socket]) -> None:
    client, server = ends
    server.sendall(b"\x02\x03hel" + b"\x80\x02lo" + b"\x82\x7e\x00\x80" + b"x" * 128 + b"\x88\x00")
    assert list(client.messages()) == [b"hello", b"x" * 128]
    assert server.recv(100)[0] == 0x88, "a close is answered"


def test_a_ping_is_answered_in_between(ends: tuple[WebSocket, socket.socket]) -> None:
    client, server = ends
    server.sendall(b"\x89\x00" + b"\x82\x01a")
    assert next(client.messages()) == b"a"
    assert server.recv(100)[0] == 0x8A


def test_what_is_sent_is_masked(ends: tuple[WebSocket, socket.socket]) -> None:
    client, server = ends
    client.send(b"\x00hello")
    frame = server.recv(100)
    assert frame[:2] == b"\x82\x86"
    assert bytes(byte ^ frame[2 + index % 4] for index, byte in enumerate(frame[6:])) == b"\x00hello"


def test_a_server_that_goes_without_a_word_is_no_end(ends: tuple[WebSocket, socket.socket]) -> None:
    client, server = ends
    server.sendall(b"\x82\x05he")
    server.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        next(client.messages())
