"""Clients without a sidecar: OpenSSL on a blocking socket, used from a thread, so that each step is the test's own."""

import socket
import struct
from typing import ClassVar

from OpenSSL import SSL

from support.mesh import HOST
from support.pki import Issued

VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


def client_context(issued: Issued | None, version: str = "1.3") -> SSL.Context:
    """What a careful client has: its own leaf, one version of TLS, and every session kept."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(VERSIONS[version])
    context.set_max_proto_version(VERSIONS[version])
    context.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
    if issued is not None:
        context.use_certificate(issued.certificate)
        for each in issued.chain[1:]:
            context.add_extra_chain_cert(each)
        context.use_privatekey(issued.key)
    return context


class ForeignClient:
    """One connection; every method blocks. Raises SSL.Error and OSError as OpenSSL finds them."""

    opened: ClassVar[list[socket.socket]] = []
    """For whoever cleans up after a test."""

    def __init__(self, port: int, context: SSL.Context, session: object = None) -> None:
        self.sock = socket.create_connection((HOST, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened.append(self.sock)
        self.tls = SSL.Connection(context, self.sock)
        if session is not None:
            self.tls.set_session(session)  # type: ignore[arg-type]
        self.tls.set_connect_state()

    def handshake(self) -> "ForeignClient":
        self.tls.do_handshake()
        return self

    def ask(self, question: bytes, size: int) -> bytes:
        """Send, and read so much of the answer."""
        self.tls.sendall(question)
        return self.read(size)

    def read(self, size: int) -> bytes:
        answer = bytearray()
        while len(answer) < size:
            answer += self.tls.recv(min(size - len(answer), 1 << 16))
        return bytes(answer)

    def read_to_end(self) -> bytes:
        """Until the other side's close_notify."""
        answer = bytearray()
        while True:
            try:
                answer += self.tls.recv(1 << 16)
            except SSL.ZeroReturnError:
                return bytes(answer)

    def finish(self) -> None:
        """Half-close: close_notify, then FIN."""
        self.tls.shutdown()
        self.sock.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
