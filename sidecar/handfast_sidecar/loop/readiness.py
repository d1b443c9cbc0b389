"""Waiting for a descriptor: the one place where the poller's calls become something to await."""

import asyncio
import socket

from handfast_sidecar.loop import poller
from handfast_sidecar.loop.poller import READ, WRITE


async def readable(sock: socket.socket) -> None:
    """Until there is something to read, an end or an error included."""
    await _ready(sock, READ)


async def writable(sock: socket.socket) -> None:
    """Until the socket takes bytes, or its connect has ended."""
    await _ready(sock, WRITE)


async def _ready(sock: socket.socket, events: int) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def resolve(_events: int) -> None:
        if not future.done():
            future.set_result(None)

    current = poller.current()
    current.watch(sock.fileno(), events, resolve)
    try:
        await future
    finally:
        current.forget(sock.fileno())
