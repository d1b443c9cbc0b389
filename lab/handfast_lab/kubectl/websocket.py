"""The client's side of a WebSocket (RFC 6455), as far as commands in containers need it.

Not aiohttp's: its import takes longer than most of these commands do.
"""

import os
import socket
import struct
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from typing import Final

from handfast_lab.kubectl.calls import Query, Server

BINARY: Final = 2
_CLOSE: Final = 8
_PING: Final = 9
_PONG: Final = 10
_LAST: Final = 0x80
_MASKED: Final = 0x80
_SILENT_S: Final = 30
"""Seconds of silence after which the kernel asks whether the other side still lives."""


class WebSocket:
    """Messages over a connection; several threads may send."""

    def __init__(self, reader: BufferedIOBase, writer: socket.socket) -> None:
        self._reader = reader
        self._writer = writer
        self._sending = threading.Lock()

    def messages(self) -> Iterator[bytes]:
        """Until the server closes. Raises EOFError when it goes without a word, OSError."""
        message = b""
        while True:
            first, second = self._read(2)
            length = second & 0x7F
            if length >= 126:
                [length] = struct.unpack(">H", self._read(2)) if length == 126 else struct.unpack(">Q", self._read(8))
            payload = self._read(length)
            kind = first & 0x0F
            if kind == _CLOSE:
                self.send(payload, _CLOSE)
                return
            if kind == _PING:
                self.send(payload, _PONG)
            elif kind != _PONG:
                message += payload
                if first & _LAST:
                    yield message
                    message = b""

    def send(self, payload: bytes, kind: int = BINARY) -> None:
        """One message. Raises OSError."""
        length, mask = len(payload), os.urandom(4)
        if length < 126:
            head = struct.pack(">BB", _LAST | kind, _MASKED | length)
        elif length < 1 << 16:
            head = struct.pack(">BBH", _LAST | kind, _MASKED | 126, length)
        else:
            head = struct.pack(">BBQ", _LAST | kind, _MASKED | 127, length)
        key = (mask * (length // 4 + 1))[:length]
        hidden = (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(length)
        with self._sending:
            self._writer.sendall(head + mask + hidden)

    def _read(self, count: int) -> bytes:
        found = self._reader.read(count)
        if len(found) < count:
            raise EOFError
        return found


@contextmanager
def connected(server: Server, path: str, query: Query, protocol: str) -> Iterator[WebSocket]:
    """A WebSocket that speaks `protocol`. Raises Refusal, Stop."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": protocol,
    }
    with server.upgraded(path, query, headers) as (reader, writer):
        writer.settimeout(None)  # a command may be silent for hours; a dead server is the kernel's to notice
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENT_S)
        yield WebSocket(reader, writer)
