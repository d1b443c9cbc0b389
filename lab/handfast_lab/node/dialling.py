"""Connections from within a pod's network: for port-forward, where loopback is the pod's own."""

import asyncio
import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

TIMEOUT_S: Final = 5.0
LOOPBACK: Final = ("127.0.0.1", "::1")
"""In this order, as container runtimes have it."""
_CLONE_NEWNET: Final = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


async def dial(netns: Path | None, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a port of loopback there; None: where we are. Raises OSError."""
    # setns(2) moves one thread: this one is for the one connection, and a socket stays where it was made.
    one = ThreadPoolExecutor(max_workers=1)
    try:
        connected = await asyncio.get_running_loop().run_in_executor(one, _dial, netns, port)
    finally:
        one.shutdown(wait=False)
    return await asyncio.open_connection(sock=connected)


def _dial(netns: Path | None, port: int) -> socket.socket:
    if netns is not None:
        descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(netns))
        finally:
            os.close(descriptor)
    problem: OSError | None = None
    for address in LOOPBACK:
        try:
            return socket.create_connection((address, port), TIMEOUT_S)
        except OSError as error:
            problem = problem or error
    raise problem or OSError(f"nobody listens at port {port}")
