"""Commands in containers, and their logs, as kubectl asks for them (`remotecommand` over WebSocket, v4 and v5).

The one rule: a process that was started for a client ends with its connection.
"""

import asyncio
import contextlib
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

from aiohttp import WSMsgType, web

from handfast_lab.api.problems import ApiProblem, bad_request
from handfast_lab.api.requests import flag
from handfast_lab.commands import put_down

Json = dict[str, Any]
V5: Final = "v5.channel.k8s.io"
PROTOCOLS: Final = (V5, "v4.channel.k8s.io")
STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
ERROR: Final = 3
CLOSE: Final = 255
"""Version 5: the client says that a channel has ended."""
_CHUNK: Final = 32 << 10


class PodAccess(Protocol):
    """What the node agent does for clients."""

    def log(
        self, pod: Json, container: str, *, follow: bool, previous: bool, tail: int | None, timestamps: bool
    ) -> AsyncIterator[bytes]:
        """What a container has printed. Raises ApiProblem."""
        ...

    async def spawn(self, pod: Json, container: str, command: list[str], *, tty: bool) -> Process:
        """Start a command in a container, with pipes; what it cannot run is an exit code. Raises ApiProblem."""
        ...


def container_of(pod: Json, asked: str) -> str:
    """The container that is meant. Raises ApiProblem where that is not clear."""
    fields = ("containers", "initContainers", "ephemeralContainers")
    names = [[each["name"] for each in pod["spec"].get(field) or ()] for field in fields]
    if asked:
        if not any(asked in each for each in names):
            raise bad_request(f"container {asked} is not valid for pod {pod['metadata']['name']}")
        return asked
    if len(names[0]) == 1:
        return str(names[0][0])
    said = (
        f"a container name must be specified for pod {pod['metadata']['name']}, choose one of: [{' '.join(names[0])}]"
    )
    raise bad_request(said + (f" or one of the init containers: [{' '.join(names[1])}]" if names[1] else ""))


async def logs(access: PodAccess, request: web.Request, pod: Json) -> web.StreamResponse:
    """`pods/log`."""
    query = request.query
    container = container_of(pod, query.get("container", ""))
    lines = access.log(pod, container, follow=flag(query, "follow"), previous=flag(query, "previous"),
                       tail=int(query["tailLines"]) if "tailLines" in query else None,
                       timestamps=flag(query, "timestamps"))  # fmt: skip
    first = await anext(lines, None)  # a refusal comes before the answer has begun
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    if first is not None:
        await response.write(first)
        async for line in lines:
            await response.write(line)
    await response.write_eof()
    return response


async def run(access: PodAccess, request: web.Request, pod: Json) -> web.StreamResponse:
    """`pods/exec`."""
    query = request.query
    command, stdin, tty = query.getall("command", []), flag(query, "stdin"), flag(query, "tty")
    if not command:
        raise bad_request("you must specify at least 1 container command")
    if "upgrade" not in request.headers.get("Connection", "").lower():
        raise bad_request("Upgrade request required")
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise ApiProblem(403, "Forbidden", "the lab speaks WebSocket alone: use a newer kubectl")
    container = container_of(pod, query.get("container", ""))
    socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=1 << 20)
    await socket.prepare(request)
    try:
        process = await access.spawn(pod, container, list(command), tty=tty)
    except ApiProblem as problem:
        await _end(socket, problem.status())
        return socket
    try:
        if not stdin and process.stdin is not None:
            process.stdin.close()
        await _serve(socket, process)
    finally:
        await put_down(process)
    return socket


async def _serve(socket: web.WebSocketResponse, process: Process) -> None:
    reading = asyncio.create_task(_take(socket, process))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_give(socket, STDOUT, process.stdout))
            group.create_task(_give(socket, STDERR, process.stderr))
        code = await process.wait()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    await _end(socket, _status(code))


async def _end(socket: web.WebSocketResponse, status: Json) -> None:
    """Say how it went, where kubectl looks for it."""
    await _send(socket, ERROR, json.dumps(status).encode())
    await socket.close()


async def _give(socket: web.WebSocketResponse, channel: int, output: asyncio.StreamReader | None) -> None:
    while output is not None and (data := await output.read(_CHUNK)):
        await _send(socket, channel, data)


async def _send(socket: web.WebSocketResponse, channel: int, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # the client may leave while the process still speaks
        await socket.send_bytes(bytes([channel]) + data)


async def _take(socket: web.WebSocketResponse, process: Process) -> None:
    """The client's side; when it goes, the process does."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data or process.stdin is None:
            continue
        channel, data = message.data[0], message.data[1:]
        with contextlib.suppress(ConnectionError):
            if channel == STDIN:
                process.stdin.write(data)
                await process.stdin.drain()
            elif channel == CLOSE and data[:1] == bytes([STDIN]):
                process.stdin.close()
    await put_down(process)


def _status(code: int) -> Json:
    """How a command ended, as kubectl reads it."""
    base: Json = {"metadata": {}, "kind": "Status", "apiVersion": "v1"}
    if code == 0:
        return base | {"status": "Success"}
    code = 128 - code if code < 0 else code
    return base | {
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: error executing command, exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
