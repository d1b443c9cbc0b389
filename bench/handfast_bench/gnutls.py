"""GnuTLS by ctypes, as little of it as a client with False Start (RFC 7918) needs: OpenSSL's API has none.

GnuTLS does no False Start once it has sent a client certificate (lib/handshake.c, can_send_false_start), so this client
has none: what it measures is TLS with the server's certificate only.
"""

import ctypes
import socket
from pathlib import Path
from typing import Final

LIBRARY: Final = "libgnutls.so.30"
PACKAGE: Final = "libgnutls30"
_CLIENT, _ENABLE_FALSE_START, _FLAG_FALSE_START = 1 << 1, 1 << 8, 1 << 5
_PEM, _CERTIFICATE, _DNS = 1, 1, 1
_PRIORITY: Final = b"NORMAL:-VERS-ALL:+VERS-TLS1.2"


class GnuTls:
    """A client that trusts one root. Raises OSError when the library is not there."""

    def __init__(self, roots: Path) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        for name in ("gnutls_record_send", "gnutls_record_recv"):
            getattr(self._library, name).restype = ctypes.c_ssize_t
        self._library.gnutls_strerror.restype = ctypes.c_char_p
        self._credentials = ctypes.c_void_p()
        self._call("gnutls_certificate_allocate_credentials", ctypes.byref(self._credentials))
        self._call("gnutls_certificate_set_x509_trust_file", self._credentials, str(roots).encode(), _PEM)

    def exchange(self, sock: socket.socket, name: str, request: bytes, *, false_start: bool) -> bytes:
        """Handshake, request, and the answer's first bytes. Raises ConnectionError, also when False Start failed."""
        session = ctypes.c_void_p()
        self._call("gnutls_init", ctypes.byref(session), _CLIENT | (_ENABLE_FALSE_START if false_start else 0))
        try:
            host = name.encode()
            self._call("gnutls_priority_set_direct", session, _PRIORITY, None)
            self._call("gnutls_credentials_set", session, _CERTIFICATE, self._credentials)
            self._call("gnutls_server_name_set", session, _DNS, host, ctypes.c_size_t(len(host)))
            self._library.gnutls_session_set_verify_cert(session, host, 0)
            self._library.gnutls_transport_set_int2(session, sock.fileno(), sock.fileno())
            self._call("gnutls_handshake", session)
            used = bool(self._library.gnutls_session_get_flags(session) & _FLAG_FALSE_START)
            self._call("gnutls_record_send", session, request, ctypes.c_size_t(len(request)))
            answer = ctypes.create_string_buffer(4096)
            length = self._call("gnutls_record_recv", session, answer, ctypes.c_size_t(len(answer)))
        finally:
            self._library.gnutls_deinit(session)
        if used != false_start:
            raise ConnectionError(f"False Start was {'used' if used else 'not used'}")
        return answer.raw[:length]

    def _call(self, name: str, *arguments: object) -> int:
        code = int(getattr(self._library, name)(*arguments))
        if code < 0:
            raise ConnectionError(f"{name}: {self._library.gnutls_strerror(code).decode()}")
        return code
