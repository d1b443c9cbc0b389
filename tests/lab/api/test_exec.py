"""Commands in containers over WebSocket, and logs, with real processes."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator

import pytest

from handfast_lab.api.exec import PROTOCOLS, V5
from handfast_lab.api.problems import bad_request
from lab.api.stage import CORE, Client, Json, pod, serving

LOG = f"{CORE}/pods/one/log"
EXEC = f"{CORE}/pods/one/exec"

PIPES = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}


class Processes:
    """Runs commands on this machine."""

    def __init__(self) -> None:
        self.running: list[Process] = []

    async def log(
        self, pod: Json, container: str, *, follow: bool, previous: bool, tail: int | None, timestamps: bool
    ) -> AsyncIterator[bytes]:
        if previous:
            raise bad_request(f'previous terminated container "{container}" in pod "one" not found')
        yield f"{container} follow={follow} tail={tail}\n".encode()
        yield b"bye\n"

    async def spawn(self, pod: Json, container: str, command: list[str], *, tty: bool) -> Process:
        if container == "broken":
            raise bad_request("container broken is not running")
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        self.running.append(process)
        return process

    async def dial(self, pod: Json, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)


@pytest.fixture
def processes() -> Processes:
    return Processes()


@pytest.fixture
async def api(processes: Processes) -> AsyncIterator[Client]:
    async with serving(access=processes) as client:
        containers = [{"name": name, "image": "x"} for name in ("app", "broken")]
        await client.create(f"{CORE}/pods", pod("one", containers=containers))
        yield client


async def run(api: Client, *command: str, container: str = "app", stdin: bytes | None = None) -> dict[int, bytes]:
    """What came over each channel."""
    params = [("container", container), ("stdout", "true"), *(("command", each) for each in command)]
    given = [] if stdin is None else [("stdin", "true")]
    channels: dict[int, bytes] = {}
    async with api.session.ws_connect(EXEC, params=[*params, *given], protocols=PROTOCOLS) as socket:
        assert socket.protocol == V5
        if stdin is not None:
            await socket.send_bytes(b"\0" + stdin)
            await socket.send_bytes(b"\xff\0")
        async for message in socket:
            channels[message.data[0]] = channels.get(message.data[0], b"") + message.data[1:]
    return channels


async def test_a_command_speaks_over_its_channels(api: Client) -> None:
    channels = await run(api, "sh", "-c", "echo out; echo err >&2")
    assert (channels[1], channels[2]) == (b"out\n", b"err\n")
    assert json.loads(channels[3])["status"] == "Success"


async def test_an_exit_code_is_told_as_kubectl_reads_it(api: Client) -> None:
    status = json.loads((await run(api, "sh", "-c", "exit 3"))[3])
    assert (status["reason"], status["details"]["causes"]) == (
        "NonZeroExitCode",
        [{"reason": "ExitCode", "message": "3"}],
    )


async def test_what_is_typed_reaches_the_command_until_it_is_closed(api: Client) -> None:
    assert (await run(api, "cat", stdin=b"hello"))[1] == b"hello"


async def test_a_container_that_does_not_run_is_named(api: Client) -> None:
    assert json.loads((await run(api, "true", container="broken"))[3])["message"] == "container broken is not running"


async def test_a_process_ends_with_its_client(api: Client, processes: Processes) -> None:
    params = [("container", "app"), ("command", "sleep"), ("command", "60")]
    async with api.session.ws_connect(EXEC, params=params, protocols=PROTOCOLS):
        pass
    [process] = processes.running
    assert await process.wait() != 0


async def test_a_log_is_what_the_container_printed(api: Client) -> None:
    answer = await api.get(LOG, container="app", follow="true", tailLines="2")
    assert answer.body == b"app follow=True tail=2\nbye\n"
    assert (await api.get(LOG, container="app", previous="true")).status == 400


async def test_the_container_must_be_clear(api: Client) -> None:
    assert (await api.get(LOG)).message == (
        "a container name must be specified for pod one, choose one of: [app broken]"
    )
    assert (await api.get(LOG, container="none")).message == "container none is not valid for pod one"
