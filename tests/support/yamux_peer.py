"""HashiCorp's yamux as the other side of our mux: the program in tests/tunnel/interop/yamuxpeer, over TCP, without TLS.

What the program does is asked for, and what it says is waited for, by stream and verb; nothing here waits for time.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from handfast_sidecar.tunnel.frames import INITIAL_WINDOW, Flag
from handfast_sidecar.tunnel.mux import Mux
from handfast_sidecar.tunnel.stream import Stream
from support import go_program
from support.outgoing import taken

SOURCES: Final = Path(__file__).parents[1] / "tunnel" / "interop" / "yamuxpeer"
_PERIOD: Final = 65521
_PATTERN: Final = bytes(at * 31 >> 3 & 255 for at in range(_PERIOD))


def pattern(count: int) -> bytes:
    """The bytes that the program writes; their period is a prime, so what is lost or doubled shifts the rest."""
    return (_PATTERN * (count // _PERIOD + 1))[:count]


def summed(data: bytes) -> str:
    """What the program says when it has read these bytes to their end."""
    return f"{len(data)}:{hashlib.sha256(data).hexdigest()}:ok"


def built() -> Path:
    """The program, compiled when its sources are new; without Go the test is skipped, but never in CI."""
    return go_program.built(SOURCES, "HashiCorp's yamux cannot be built")


class Application:
    """Our end of a stream: remembers what comes, sends what it is told to, and reads on when it is told to."""

    def __init__(self, stream: Stream, *, reads: bool = True, echoes: bool = False) -> None:
        self.stream = stream
        self.reads, self.echoes = reads, echoes
        self.received = bytearray()
        self.uncredited = 0
        self.sent = 0
        self._unsent = bytearray()
        self._finishing = False
        self.ended, self.gone, self.idle = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def data(self, view: memoryview) -> None:
        self.received += view
        self.uncredited += len(view)
        if self.echoes:
            self.write(bytes(view))
        if self.reads:
            self.read_on()

    def end(self) -> None:
        if self.echoes:
            self.finish()
        self.ended.set()

    def aborted(self) -> None:
        self.gone.set()

    def resume(self) -> None:
        while self._unsent:
            view = self.stream.reserve()
            if view is None:
                return
            count = min(len(view), len(self._unsent))
            view[:count] = self._unsent[:count]
            self.stream.commit(count)
            del self._unsent[:count]
            self.sent += count
        if self._finishing:
            self.stream.finish()
        self.idle.set()

    def read_on(self) -> None:
        """Hand on what was kept."""
        self.reads = True
        count, self.uncredited = self.uncredited, 0
        self.stream.credit(count, keeps_up=True)

    def write(self, data: bytes) -> None:
        """Send, as windows let it; `idle` is set when all has left."""
        self.idle.clear()
        self._unsent += data
        self.resume()

    def finish(self) -> None:
        """Half-close when all has left."""
        self._finishing = True
        if not self._unsent:
            self.stream.finish()


class Ours(asyncio.Protocol):
    """The shell around our mux, as `tunnel.connection` is, but for TLS."""

    def __init__(self, *, client: bool) -> None:
        self.mux = Mux(client=client, accept=self._accept, wake=self._wake, flush=self._write_out)
        self.accepted: dict[int, Application] = {}
        self.manner: dict[str, bool] = {}
        """How applications behave that are yet to be accepted."""
        self.refuses = False
        self.connected, self.heard, self.lost = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._blocked = self._scheduled = False
        self._transport: asyncio.Transport

    def open(self, first: bytes = b"", *, reads: bool = True) -> Application:
        application = self.mux.open(first, lambda stream: Application(stream, reads=reads)).sink
        assert isinstance(application, Application)
        application.sent = len(first)
        return application

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.connected.set()

    def data_received(self, data: bytes) -> None:
        self.mux.receive(memoryview(data))
        self.heard.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until what the peer sends has made it true."""
        while not true():
            self.heard.clear()
            await self.heard.wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._blocked = True
        self.mux.abort_all()
        self.lost.set()

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._wake()

    def close(self) -> None:
        self._transport.close()

    def _accept(self, stream: Stream) -> Application | None:
        if self.refuses:
            return None
        # A tunnel's server acknowledges a stream with its answer.
        stream.send(b"", Flag.ACK)
        self.accepted[stream.id] = Application(stream, **self.manner)
        return self.accepted[stream.id]

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        self._write_out()
        if not self._blocked:
            self.mux.drained()

    def _write_out(self) -> None:
        while not self._blocked and (data := taken(self.mux, 65536)):
            self._transport.write(data)


class Hashicorp:
    """The program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._said: defaultdict[tuple[str, str], asyncio.Queue[str]] = defaultdict(asyncio.Queue)

    async def listen(self) -> None:
        """Sort what it says, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            name, verb, *words = line.decode().split()
            self._said[name, verb].put_nowait(" ".join(words))

    def ask(self, name: int | str, verb: str, argument: int | str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {verb} {argument}\n".encode())

    async def says(self, name: int | str, verb: str) -> str:
        return await self._said[str(name), verb].get()


@asynccontextmanager
async def conversation(
    *, our_client: bool, window: int = INITIAL_WINDOW, close_timeout: str = "5m"
) -> AsyncIterator[tuple[Ours, Hashicorp]]:
    """Our mux and theirs, connected."""
    program = await asyncio.to_thread(built)
    ours = Ours(client=our_client)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ours, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    role = "server" if our_client else "client"
    process = await asyncio.create_subprocess_exec(
        *(program, role, f"{host}:{port}", str(window), close_timeout),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    hashicorp = Hashicorp(process)
    listening = asyncio.create_task(hashicorp.listen())
    try:
        await ours.connected.wait()
        yield ours, hashicorp
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await listening
        await ours.lost.wait()
        server.close()
        await server.wait_closed()
