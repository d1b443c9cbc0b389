"""Waiting for a descriptor: the one place where asyncio's callbacks on sockets become something to await."""

import asyncio
import socket


async def readable(sock: socket.socket) -> None:
    """Until there is something to read, an end or an error included."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock.fileno(), _resolve, future)
    try:
        await future
    finally:
        loop.remove_reader(sock.fileno())


async def writable(sock: socket.socket) -> None:
    """Until the socket takes bytes, or its connect has ended."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock.fileno(), _resolve, future)
    try:
        await future
    finally:
        loop.remove_writer(sock.fileno())


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
