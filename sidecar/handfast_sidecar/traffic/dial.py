"""Dialling in plaintext: the application of this pod, or a destination that no sidecar guards."""

import asyncio
import socket
from typing import Final

from handfast_sidecar.loop.readiness import writable
from handfast_sidecar.traffic.sockets import start_connect

DIAL_TIMEOUT_S: Final = 10.0
"""Seconds for a destination outside the mesh to accept: shorter than most applications' own time-outs."""


async def dial(address: str, port: int, timeout_s: float = DIAL_TIMEOUT_S) -> socket.socket:
    """A connected non-blocking socket. Raises OSError, TimeoutError included."""
    sock, connected = start_connect(address, port)
    if connected:
        return sock
    try:
        async with asyncio.timeout(timeout_s):
            await writable(sock)
        check_connected(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def check_connected(sock: socket.socket) -> None:
    """Raise the error with which a connect ended, if it did."""
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, "connect")
