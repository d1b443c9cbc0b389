"""The one seam to TLS: a connection on a socket's descriptor, read into and written from our own buffers.

Nothing else in the data plane knows which library encrypts. `TlsConnection` is pyOpenSSL's public API alone; where the
functions that it is made of can be called themselves (`tunnel/direct.py`), bytes pass without a copy. The same tests
pass on both.
"""

import socket
from enum import Enum
from typing import Final

from cryptography import x509
from OpenSSL import SSL

from handfast_sidecar.errors import HandshakeFailed

NO_DATA: Final = -1
RECORD_BYTES: Final = 16 * 1024
"""Largest plaintext of one TLS record (RFC 8446 5.1): OpenSSL reads and writes at most one per call."""


class Want(Enum):
    """What a handshake waits for."""

    READ = "read"
    WRITE = "write"


class TlsConnection:
    """TLS over one non-blocking socket."""

    __slots__ = ("_connection", "_failure", "_recv", "_send", "has_more")

    def __init__(self, context: SSL.Context, sock: socket.socket, *, server: bool) -> None:
        self._connection = SSL.Connection(context, sock)
        if server:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
        self._recv = self._connection.recv_into
        self._send = self._connection.send
        self._failure: OSError | None = None
        self.has_more = False
        """Whether `read_into` has something to tell of which the socket may be silent."""

    @property
    def connection(self) -> SSL.Connection:
        """For `identity.contexts`, which keeps what a failed verification found."""
        return self._connection

    def handshake(self) -> Want | None:
        """Go on with the handshake; None when it is done. Raises HandshakeFailed."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return Want.READ
        except SSL.WantWriteError:
            return Want.WRITE
        except SSL.Error as error:
            raise _handshake_failed(error) from error
        return None

    def read_into(self, view: memoryview) -> int:
        """Bytes read, as many records as are there and fit into the view, which holds at least one.

        0 when the peer closed, NO_DATA when there are none yet. Raises OSError. Ask again while `has_more`.
        """
        filled = 0
        while len(view) - filled >= RECORD_BYTES:
            count = self._read_record(view[filled : filled + RECORD_BYTES])
            if count <= 0:
                return self._stopped(filled, count)
            filled += count
            if count < RECORD_BYTES:
                return filled  # the sender's last: if there are others, the socket tells
        self.has_more = True
        return filled

    def _read_record(self, view: memoryview) -> int:
        """Up to one record; 0 and NO_DATA as in `read_into`, and an error is kept for `_stopped`."""
        try:
            return self._recv(view)
        except (SSL.WantReadError, SSL.WantWriteError):
            return NO_DATA
        except SSL.ZeroReturnError:
            return 0
        except SSL.Error as error:
            return self._failed(error)

    def _failed(self, error: SSL.Error) -> int:
        """Keep an error for `_stopped`."""
        if self._failure is None:
            # Asked again, OpenSSL only says that it has failed: the first answer is the one that tells why.
            self._failure = ConnectionResetError(f"TLS: {_text(error)}")
        return 0

    def _stopped(self, filled: int, result: int) -> int:
        """What came before an end is handed on first, and the end is told when asked again."""
        self.has_more = bool(filled) and result != NO_DATA
        if filled:
            return filled
        if self._failure is not None:
            raise self._failure
        return result

    def write_from(self, view: memoryview) -> int:
        """Bytes of the view that TLS took, less than all when the socket is full. Raises OSError.

        After less than all, the next call must begin with the byte that was not taken.
        """
        sent, total, send = 0, len(view), self._send
        try:
            while sent < total:
                sent += send(view[sent : sent + RECORD_BYTES])
        except (SSL.WantWriteError, SSL.WantReadError):
            return sent
        except SSL.Error as error:
            raise ConnectionResetError(f"TLS: {_text(error)}") from error
        return sent

    def close_notify(self) -> bool:
        """Tell the peer that no more will come (RFC 8446 6.1); it may still send, and is read as before.

        False when the socket is full: then ask again, and never again after that.
        """
        try:
            self._connection.shutdown()
        except SSL.WantWriteError:
            return False
        except (SSL.Error, OSError):
            # The peer may be gone already: closing is all that is left.
            return True
        return True

    @property
    def alpn(self) -> str:
        return self._connection.get_alpn_proto_negotiated().decode("ascii", "replace")

    @property
    def peer_chain(self) -> list[x509.Certificate]:
        """The verified chain, leaf first."""
        return self._connection.get_verified_chain(as_cryptography=True) or []

    @property
    def version(self) -> str:
        return self._connection.get_protocol_version_name()

    @property
    def cipher(self) -> str:
        return self._connection.get_cipher_name() or ""

    @property
    def group(self) -> str:
        """Name of the key exchange, such as X25519MLKEM768."""
        return self._connection.get_group_name() or ""


def _text(error: SSL.Error) -> str:
    """OpenSSL's own words, without the library names around them."""
    if isinstance(error, SSL.SysCallError):
        return str(error.args[-1])
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(str(each[-1]) for each in reasons) or type(error).__name__


_NOT_TLS: Final = (
    "wrong version number",
    "http request",
    "https proxy request",
    "packet length too long",
    "bad record type",
    "unexpected message",
    "not a tls",
    "record layer failure",
    "record too small",
    "bad legacy version",
    "length mismatch",
    "unknown protocol",
)
_REASONS: Final = (
    ("peer did not return a certificate", "no_certificate", "the peer sent no certificate: is it a Handfast sidecar?"),
    ("certificate required", "no_certificate", "the peer wants a certificate and got none"),
    ("no application protocol", "wrong_alpn", "the peer does not speak the tunnel's protocol"),
    (
        "certificate expired",
        "peer_refused_expired",
        "the peer refused our certificate as expired: check its clock and ours",
    ),
    ("unknown ca", "peer_refused_untrusted", "the peer does not trust our issuer: is it of another trust domain?"),
    ("unsupported protocol", "tls_version", "the peer speaks another version of TLS than is allowed here"),
    ("protocol version", "tls_version", "the peer does not allow the version of TLS that we speak"),
    ("no shared cipher", "no_common_cipher", "the peer allows none of our cipher suites: compare sidecar.cipherSuites"),
    ("bad certificate", "peer_refused", "the peer refused our certificate"),
    ("certificate unknown", "peer_refused", "the peer refused our certificate"),
)


def _handshake_failed(error: SSL.Error) -> HandshakeFailed:
    text = _text(error).lower()
    if isinstance(error, (SSL.SysCallError, SSL.ZeroReturnError)):
        return HandshakeFailed("closed", f"the peer closed the connection during the handshake ({text})")
    for needle, reason, sentence in _REASONS:
        if needle in text:
            return HandshakeFailed(reason, f"{sentence} ({text})")
    if any(needle in text for needle in _NOT_TLS):
        return HandshakeFailed("not_tls", f"what arrived is no TLS ({text})")
    return HandshakeFailed("tls_error", f"TLS handshake failed: {text}")
