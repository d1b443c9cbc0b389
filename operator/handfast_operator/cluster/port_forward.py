"""A port on a pod's loopback, through the API server: `pods/portforward` over WebSocket, and one GET over that.

The protocol is kubelet's `v4.channel.k8s.io` (k8s.io/cri-streaming, portforward/websocket.go): of each port two
channels, the first byte of a message names one; the first message of each is the port, as little-endian uint16.
"""

import asyncio
import contextlib
import re
from typing import Final

import aiohttp

from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.http_answer import Answer, is_whole, parse, request
from handfast_operator.cluster.kinds import PODS
from handfast_sidecar.errors import BadInput, HandfastError

PROTOCOL: Final = "v4.channel.k8s.io"
DATA: Final = 0
ERROR: Final = 1
TIMEOUT_S: Final = 10.0
MAX_ANSWER: Final = 64 << 20
"""Bytes of an answer: evidence of 100,000 edges has about 40 MB."""
_PREFIX: Final = re.compile(r"^error forwarding port \d+ to pod [^:]*: ")
"""What kubelet says before it says why."""


class ForwardFailed(HandfastError):
    """The pod's port was not reached; the message says what the node said of it."""


async def get(
    client: ApiClient, namespace: str, pod: str, port: int, path: str, timeout_s: float = TIMEOUT_S
) -> Answer:
    """What a server on a pod's loopback answers. Raises ApiError, ForwardFailed, ClientError, TimeoutError."""
    where = f"{PODS.item(namespace, pod)}/portforward"
    received = bytearray()
    async with (
        asyncio.timeout(timeout_s),
        client.websocket(where, {"ports": str(port)}, PROTOCOL, timeout_s=timeout_s) as socket,
    ):
        with contextlib.suppress(aiohttp.ClientConnectionResetError):
            # Closed already: why, stands in what has come.
            await socket.send_bytes(bytes([DATA]) + request(path))
        greeted: set[int] = set()
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel not in greeted:
                _check_port(channel, data, port)
                greeted.add(channel)
            elif channel == ERROR:
                said = _PREFIX.sub("", data.decode(errors="replace"))
                raise ForwardFailed(f"port {port} of pod {namespace}/{pod} is not reached: {said}")
            elif channel == DATA:
                received += data
                if len(received) > MAX_ANSWER:
                    raise ForwardFailed(f"port {port} of pod {namespace}/{pod} sends more than {MAX_ANSWER} bytes")
                if is_whole(received):
                    break
    try:
        return parse(received)
    except BadInput as error:
        raise ForwardFailed(f"port {port} of pod {namespace}/{pod}: {error}") from error


def _check_port(channel: int, data: bytes, port: int) -> None:
    if channel not in (DATA, ERROR) or data != port.to_bytes(2, "little"):
        raise ForwardFailed(f"the API server does not forward ports as {PROTOCOL} has it")
