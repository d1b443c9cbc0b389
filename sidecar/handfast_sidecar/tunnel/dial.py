"""TCP to a peer's mesh port."""

import asyncio
import contextlib
import socket
from typing import Final

from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.tunnel import unreachable

DIAL_TIMEOUT_S: Final = 5.0
"""Seconds for TCP to connect to a peer's mesh port."""


async def connect(address: str, port: int) -> socket.socket:
    """A connected non-blocking socket, or HandshakeFailed with what to check."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException as error:
        with contextlib.suppress(OSError):
            sock.close()
        if isinstance(error, TimeoutError):
            raise HandshakeFailed("unreachable", unreachable.no_answer(address, port, DIAL_TIMEOUT_S)) from None
        if isinstance(error, OSError):
            raise HandshakeFailed("unreachable", unreachable.dial_failed(address, port, error)) from error
        raise
    return sock
