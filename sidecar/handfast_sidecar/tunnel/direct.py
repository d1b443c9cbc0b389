"""TLS by the functions that pyOpenSSL itself calls: `SSL_read` and `SSL_write` on our own buffers.

pyOpenSSL's public `recv_into` reads into a buffer of its own and copies, and "nothing there" is an exception, once for
each turn of the loop. The functions are those of cryptography's binding, the same library and the same connection; they
are no public API, so `usable` looks whether they are what we know, and the public way is taken where they are not.
"""

from typing import Any, Final

from OpenSSL import SSL

from handfast_sidecar.tunnel.tls import NO_DATA, RECORD_BYTES, TlsConnection

try:
    from cryptography.hazmat.bindings.openssl.binding import Binding

    _lib: Any = Binding.lib
    _ffi: Any = Binding.ffi
except (ImportError, AttributeError):  # a later cryptography
    _lib = _ffi = None

_WANT_READ: Final = 2
_WANT_WRITE: Final = 3
"""SSL_ERROR_WANT_READ and SSL_ERROR_WANT_WRITE of openssl/ssl.h."""
_NEEDED: Final = ("SSL_read", "SSL_write", "SSL_get_error", "SSL_ERROR_WANT_READ", "SSL_ERROR_WANT_WRITE")


def usable() -> bool:
    """Whether the binding has what is called here, as it is known."""
    return (
        all(hasattr(_lib, name) for name in _NEEDED)
        and hasattr(_ffi, "from_buffer")
        and (_lib.SSL_ERROR_WANT_READ, _lib.SSL_ERROR_WANT_WRITE) == (_WANT_READ, _WANT_WRITE)
        and hasattr(SSL.Connection, "_raise_ssl_error")
    )


class DirectTls(TlsConnection):
    """The same connection, without copies and exceptions on the way of the bytes."""

    __slots__ = ("_ssl",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ssl = self._connection._ssl  # noqa: SLF001 - looked for by `usable`

    def read_into(self, view: memoryview) -> int:
        """As the public way."""
        read, ssl, base, filled = _lib.SSL_read, self._ssl, _ffi.from_buffer(view), 0
        room = len(view) - RECORD_BYTES
        while filled <= room:
            count: int = read(ssl, base + filled, RECORD_BYTES)
            if count <= 0:
                return self._stopped(filled, self._result(count))
            filled += count
            if count < RECORD_BYTES:
                return filled
        self.has_more = True
        return filled

    def write_from(self, view: memoryview) -> int:
        """As the public way."""
        write, ssl, base, sent, total = _lib.SSL_write, self._ssl, _ffi.from_buffer(view), 0, len(view)
        while sent < total:
            count: int = write(ssl, base + sent, total - sent)  # one record, as it is in partial-write mode
            if count <= 0:
                if self._result(count) == NO_DATA:
                    return sent
                raise self._failure or ConnectionResetError("TLS: the peer closed the connection")
            sent += count
        return sent

    def _result(self, count: int) -> int:
        """NO_DATA when the socket is not ready; else 0, with the failure kept, as pyOpenSSL reads it."""
        if _lib.SSL_get_error(self._ssl, count) in (_WANT_READ, _WANT_WRITE):
            return NO_DATA
        try:
            self._connection._raise_ssl_error(self._ssl, count)  # noqa: SLF001 - it empties OpenSSL's queue of errors
        except SSL.ZeroReturnError:
            return 0
        except SSL.Error as error:
            return self._failed(error)
        return 0


ENGINE: Final[type[TlsConnection]] = DirectTls if usable() else TlsConnection
"""What tunnels are made with."""
