"""Ports of pods for clients outside (`pods/portforward` over WebSocket, version 4), as kubelet serves them.

Of each port two channels, data and errors; the first message on each is the port (k8s.io/cri-streaming,
portforward/websocket.go). The one rule: a connection that was made for a client ends with the client's.
"""

import asyncio
import contextlib
from typing import Any, Final, Protocol

from aiohttp import WSMsgType, web

from handfast_lab.api.problems import ApiProblem, bad_request

Json = dict[str, Any]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PROTOCOL: Final = "v4.channel.k8s.io"
_CHUNK: Final = 32 << 10


class PodPorts(Protocol):
    """What the node agent does for clients."""

    async def dial(self, pod: Json, port: int) -> Connection:
        """A connection to a port of the pod's loopback, from within the pod. Raises OSError, ApiProblem."""
        ...


async def forward(access: PodPorts, request: web.Request, pod: Json) -> web.StreamResponse:
    """`pods/portforward`."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise bad_request("Upgrade request required")
    ports = _ports(request)
    offered = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if PROTOCOL not in offered:
        raise ApiProblem(403, "Forbidden", f"the lab forwards ports by {PROTOCOL} alone, not by {', '.join(offered)}")
    if not pod["spec"].get("nodeName"):
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), max_msg_size=1 << 20)
    await socket.prepare(request)
    pairs = [_Pair(socket, 2 * number, port) for number, port in enumerate(ports)]
    for pair in pairs:
        await pair.greet()
    taking = asyncio.create_task(_take(socket, pairs))
    serving = asyncio.create_task(_serve(pairs, access, pod))
    try:
        await asyncio.wait({taking, serving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in (taking, serving):
            each.cancel()
        await asyncio.gather(taking, serving, return_exceptions=True)
    await socket.close()
    return socket


class _Pair:
    """One port and its two channels."""

    def __init__(self, socket: web.WebSocketResponse, channel: int, port: int) -> None:
        self._socket = socket
        self._channel = channel
        self._port = port
        self._sent: asyncio.Queue[bytes] = asyncio.Queue(maxsize=16)

    async def greet(self) -> None:
        for channel in (self._channel, self._channel + 1):
            await self._send(channel, self._port.to_bytes(2, "little"))

    async def take(self, data: bytes) -> None:
        """What the client sends."""
        await self._sent.put(data)

    async def serve(self, access: PodPorts, pod: Json) -> None:
        """To the end of what the pod says."""
        try:
            reader, writer = await access.dial(pod, self._port)
        except (OSError, ApiProblem) as error:
            meta = pod["metadata"]
            said = f"error forwarding port {self._port} to pod {meta['name']}, uid {meta['uid']}: {error}"
            await self._send(self._channel + 1, said.encode())
            return
        giving = asyncio.create_task(self._give(writer))
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(_CHUNK):
                    await self._send(self._channel, data)
        finally:
            giving.cancel()
            await asyncio.gather(giving, return_exceptions=True)
            writer.close()

    async def _give(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(await self._sent.get())
                await writer.drain()

    async def _send(self, channel: int, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # the client may leave meanwhile
            await self._socket.send_bytes(bytes([channel]) + data)


async def _serve(pairs: list[_Pair], access: PodPorts, pod: Json) -> None:
    async with asyncio.TaskGroup() as group:
        for pair in pairs:
            group.create_task(pair.serve(access, pod))


async def _take(socket: web.WebSocketResponse, pairs: list[_Pair]) -> None:
    """The client's side, until it goes."""
    async for message in socket:
        if message.type is WSMsgType.BINARY and message.data:
            number, error = divmod(message.data[0], 2)
            if number < len(pairs) and not error:
                await pairs[number].take(message.data[1:])


def _ports(request: web.Request) -> list[int]:
    texts = [part for each in request.query.getall("ports", []) for part in each.split(",")]
    if not texts:
        raise bad_request('query parameter "port" is required')
    if not all(each.isascii() and each.isdecimal() and 0 < int(each) < 65536 for each in texts):
        raise bad_request(f'unable to parse "{",".join(texts)}" as a port')
    return [int(each) for each in texts]
