"""Peers that present whatever they are given: OpenSSL on blocking sockets, in threads, without a check of their own."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from OpenSSL import SSL

from support.certificates import Presented

HOST = "127.0.0.1"
SYN = bytes.fromhex("000100010000000100000000")
"""yamux: a window update that opens stream 1."""
TIMEOUT_S = 10


def stranger(method: int, presented: Presented | None, protocols: list[bytes]) -> SSL.Context:
    """It trusts anybody, and its library's own idea of what is strong is turned off."""
    context = SSL.Context(method)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    if presented is not None:
        context.use_certificate(presented.chain[0])
        for each in presented.chain[1:]:
            context.add_extra_chain_cert(each)
        context.use_privatekey(presented.key)
    if method == SSL.TLS_CLIENT_METHOD:
        if protocols:
            context.set_alpn_protos(protocols)
    elif protocols:
        context.set_alpn_select_callback(lambda _connection, _offered: protocols[0])
    return context


def call(port: int, context: SSL.Context) -> bytes:
    """Dial, open a stream at once, and read to the end: what was answered."""
    with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as sock:
        sock.settimeout(None)
        return _talk(SSL.Connection(context, sock), client=True)


@dataclass
class Listening:
    """A server for one connection."""

    port: int
    heard: list[bytes] = field(default_factory=list)
    """What the client said after the handshake; nothing before it was done."""


@asynccontextmanager
async def listening(context: SSL.Context) -> AsyncIterator[Listening]:
    """A stranger that serves; at the end it has heard all that there is to hear."""
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        found = Listening(listener.getsockname()[1])

        def serve() -> None:
            with listener.accept()[0] as sock:
                sock.settimeout(None)
                found.heard.append(_talk(SSL.Connection(context, sock), client=False))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield found
        finally:
            await asyncio.to_thread(thread.join, TIMEOUT_S)


def _talk(tls: SSL.Connection, *, client: bool) -> bytes:
    read = bytearray()
    (tls.set_connect_state if client else tls.set_accept_state)()
    with suppress(SSL.Error, OSError):
        tls.do_handshake()
        if client:
            tls.sendall(SYN)
        while chunk := tls.recv(1 << 16):
            read += chunk
    return bytes(read)
