"""Sockets of applications: how they are opened, and how they end as the application ended them."""

import errno
import socket
import struct
from typing import Final

_LINGER_ABORT: Final = struct.pack("ii", 1, 0)
BACKLOG: Final = 4096
LOOPBACK: Final = ("127.0.0.1", "::1")
"""This pod itself, in the order in which it is dialled."""
_NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""A kernel, or a namespace, without IPv6."""


def listen(address: str, port: int) -> socket.socket:
    """A non-blocking listener on one address family. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it (tcp(7)): one system call less for each connection.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def listen_on_all(port: int) -> list[socket.socket]:
    """Listeners on every address of both families; a kernel without IPv6 has one."""
    return _listen_on_both("0.0.0.0", "::", port)


def listen_on_loopback(port: int) -> list[socket.socket]:
    """Listeners that this pod alone can dial. Raises OSError."""
    return _listen_on_both(*LOOPBACK, port)


def _listen_on_both(first: str, second: str, port: int) -> list[socket.socket]:
    listeners = [listen(first, port)]
    try:
        listeners.append(listen(second, listeners[0].getsockname()[1]))
    except OSError as error:
        if error.errno not in _NO_FAMILY:
            listeners[0].close()
            raise
    return listeners


def start_connect(address: str, port: int) -> tuple[socket.socket, bool]:
    """A socket, and whether it is connected already; else its outcome is SO_ERROR once it is writable. Raises OSError.

    On this machine the other end has usually answered when `connect` returns, and asking again tells.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            code = sock.connect_ex((address, port))
        if code not in (0, errno.EALREADY):
            raise OSError(code, "connect")
    except BaseException:
        sock.close()
        raise
    return sock, not code


def abort(sock: socket.socket) -> None:
    """Close with an RST, so that the application sees an abort as an abort."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ABORT)
    except OSError:
        pass  # the connection is gone already
    finally:
        sock.close()
