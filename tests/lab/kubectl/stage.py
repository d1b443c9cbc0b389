"""Our kubectl against the lab's API server on loopback."""

import asyncio
import io
import json
import shlex
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from handfast_lab.api.problems import bad_request
from handfast_lab.kubectl.main import main
from lab.api.stage import Client, Json, serving


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.out)
        return found


class Processes:
    """Runs the commands of containers on this machine."""

    async def log(
        self, pod: Json, container: str, *, follow: bool, previous: bool, tail: int | None, timestamps: bool
    ) -> AsyncIterator[bytes]:
        if previous:
            raise bad_request(f'previous terminated container "{container}" in pod "web" not found')
        yield f"{container} of {pod['metadata']['name']} tail={tail}\n".encode()

    async def spawn(self, pod: Json, container: str, command: list[str], *, tty: bool) -> Process:
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
        )

    async def dial(self, pod: Json, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)


class Head(io.StringIO):
    """Reads so many lines and goes away, as `head` does."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._lines = lines
        self._loop = asyncio.get_running_loop()
        self.begun = asyncio.Event()
        """Something was."""

    def write(self, text: str) -> int:
        self._loop.call_soon_threadsafe(self.begun.set)
        written = super().write(text)
        if self.getvalue().count("\n") >= self._lines:
            raise BrokenPipeError
        return written


class Terminal:
    """Where commands are typed."""

    def __init__(self, kubeconfig: Path, api: Client) -> None:
        self._environment = {"KUBECONFIG": str(kubeconfig)}
        self.api = api

    async def __call__(self, words: str, given: object = "", out: io.StringIO | None = None) -> Said:
        """`kubectl WORDS`; `given`: text or objects for its standard input; `out`: where it prints."""
        text = given if isinstance(given, str) else json.dumps(given)
        stdin, out, err = io.StringIO(text), out or io.StringIO(), io.StringIO()
        code = await asyncio.to_thread(main, shlex.split(words), self._environment, stdin, out, err)
        return Said(code, out.getvalue(), err.getvalue())


def kubeconfig(folder: Path, url: str, **context: str) -> Path:
    """Of an administrator."""
    document = {
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"} | context}],
        "clusters": [{"name": "lab", "cluster": {"server": url}}],
        "users": [{"name": "admin", "user": {"token": "any"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


@asynccontextmanager
async def typing(folder: Path) -> AsyncIterator[Terminal]:
    """A server and a terminal while the block runs."""
    async with serving(access=Processes()) as api:
        yield Terminal(kubeconfig(folder, str(api.session._base_url)), api)
