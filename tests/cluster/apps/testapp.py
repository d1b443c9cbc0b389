#!/opt/apps/bin/python
"""Applications as people write them, without a thought of Handfast.

Servers run until SIGTERM; clients print one line of JSON.

servers: http, greeter, sink, echo, grpc, idle, drive
clients: load, greet, visit, hold, send, reach, grpc-check, driven
A client's exit code is 1 when anything went wrong, and its JSON says what.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handler: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Report: TypeAlias = dict[str, Any]

ANSWER_S = 10.0
"""How long the answer to a request of `drive` may take."""
DRAIN_S = 20
"""How long a server waits, after SIGTERM, for the requests it has begun."""


# --- servers


async def serve(handle: Handler, port: int, host: str) -> None:
    """Serve until SIGTERM, then let what has begun finish. No `host`: on every address, of both families."""
    busy: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        busy.add(task)
        try:
            await handle(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a peer that goes away is no error of a server
        finally:
            busy.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    both = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    listening = socket.create_server((host, port), family=family, dualstack_ipv6=both, backlog=512)
    server = await asyncio.start_server(connection, sock=listening)
    await asked_to_end()
    STOPPING.set()
    server.close()
    if busy:
        await asyncio.wait(busy, timeout=DRAIN_S)


STOPPING = asyncio.Event()


async def end_of_input() -> None:
    """Until nobody can write to our standard input any more."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def asked_to_end() -> None:
    """Until SIGTERM or SIGINT."""
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    await end.wait()


class HttpServer:
    """HTTP/1.1 with keep-alive.

    /            greets: "hello from <name>"            /echo          answers the body
    /healthz     "ok"                                   /bytes/N       N bytes
    /slow/S      waits S seconds before it answers      /peer          the client's address, as we see it
    /answered    how often we greeted
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._greeted = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests until the client has no more."""
        stopping = asyncio.ensure_future(STOPPING.wait())
        try:
            while not STOPPING.is_set():
                head = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
                await asyncio.wait({head, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not head.done():
                    head.cancel()
                    return
                lines = (await head).decode("latin-1").split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                status, answer = await self._answer(lines[0].split(" ")[1], body, writer)
                last = STOPPING.is_set() or headers.get("connection") == "close"
                fate = "close" if last else "keep-alive"
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\nContent-Type: text/plain\r\n"
                    f"Connection: {fate}\r\n\r\n".encode()
                    + answer
                )
                await writer.drain()
                if last:
                    return
        finally:
            stopping.cancel()

    async def _answer(self, path: str, body: bytes, writer: asyncio.StreamWriter) -> tuple[str, bytes]:
        verb, _, argument = path.strip("/").partition("/")
        match verb:
            case "":
                self._greeted += 1
                return "200 OK", f"hello from {self._name}\n".encode()
            case "answered":
                return "200 OK", f"{self._greeted}\n".encode()
            case "healthz":
                return "200 OK", b"ok\n"
            case "echo":
                return "200 OK", body
            case "bytes":
                return "200 OK", b"x" * int(argument)
            case "slow":
                await asyncio.sleep(float(argument))
                return "200 OK", f"hello, late, from {self._name}\n".encode()
            case "peer":
                return "200 OK", f"{writer.get_extra_info('peername')[0]}\n".encode()
            case _:
                return "404 Not Found", b"no such path\n"


async def greeter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks first, as SMTP and MySQL do; then answers each line in capitals until QUIT."""
    writer.write(b"220 greetings from " + socket.gethostname().encode() + b"\r\n")
    await writer.drain()
    while line := await reader.readline():
        if line.strip() == b"QUIT":
            writer.write(b"221 farewell\r\n")
            await writer.drain()
            return
        writer.write(line.upper())
        await writer.drain()


async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads to the end, then answers how much it was: works only when a half-close arrives as one."""
    received = 0
    while chunk := await reader.read(65536):
        received += len(chunk)
    writer.write(f"received {received}\n".encode())
    await writer.drain()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Gives back what it gets."""
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()


async def grpc_health(port: int) -> None:
    """The health service of gRPC: SERVING."""
    import grpc.aio
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    server = grpc.aio.server()
    service = health.aio.HealthServicer()
    await service.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(service, server)
    server.add_insecure_port(f"[::]:{port}")
    await server.start()
    await asked_to_end()
    await server.stop(DRAIN_S)


# --- clients


class Load:
    """HTTP requests over keep-alive connections, until the time is up, the number is reached, or SIGTERM."""

    def __init__(self, options: argparse.Namespace) -> None:
        host, _, path = options.target.removeprefix("http://").partition("/")
        name, _, port = host.partition(":")
        self._host, self._port, self._path = name, int(port or 80), f"/{path}"
        self._options = options
        self._deadline = time.monotonic() + options.seconds if options.seconds else None
        self._left: int | None = options.requests or None
        self._failures: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._latencies_ms: list[float] = []
        self._opened = 0

    async def run(self) -> Report:
        """Do it, and sum it up."""
        await asyncio.sleep(self._options.after)
        began = time.monotonic()
        workers = self.begin()
        end = asyncio.create_task(end_of_input() if self._options.until_eof else asked_to_end())
        everyone = asyncio.create_task(self._all(workers))
        await asyncio.wait({end, everyone}, return_when=asyncio.FIRST_COMPLETED)
        STOPPING.set()
        end.cancel()
        await everyone
        return self.report() | {"seconds": round(time.monotonic() - began, 3)}

    def begin(self) -> list[asyncio.Task[None]]:
        """Its connections, each a task that ends with STOPPING."""
        return [asyncio.create_task(self._worker()) for _ in range(self._options.connections)]

    def report(self) -> Report:
        """What became of each request so far."""
        ordered = sorted(self._latencies_ms) or [0.0]
        return {
            "requests": len(self._latencies_ms) + self._failures.total(),
            "failed": self._failures.total(),
            "failures": dict(self._failures),
            "statuses": dict(self._statuses),
            "connections_opened": self._opened,
            "p50_ms": round(ordered[len(ordered) // 2], 3),
            "p99_ms": round(ordered[len(ordered) * 99 // 100], 3),
        }

    @staticmethod
    async def _all(workers: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(*workers)

    def _more(self) -> bool:
        if STOPPING.is_set() or (self._deadline and time.monotonic() > self._deadline):
            return False
        if self._left is not None:
            self._left -= 1
            return self._left >= 0
        return True

    async def _worker(self) -> None:
        connection: Connection | None = None
        while self._more():
            began, doing = time.monotonic(), "connecting"
            try:
                async with asyncio.timeout(self._options.timeout):
                    if connection is None:
                        connection = await asyncio.open_connection(self._host, self._port)
                        self._opened += 1
                    doing = "asking"
                    status, reusable = await self._request(*connection)
            except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
                self._failures[f"{type(error).__name__} while {doing}: {error}"[:100]] += 1
                reusable = False
                await asyncio.sleep(0.02)  # a server that refuses at once must not be asked in a tight loop
            else:
                self._latencies_ms.append((time.monotonic() - began) * 1000)
                self._statuses[status] += 1
                if not status.startswith("2"):
                    self._failures[f"status {status}"] += 1
                    self._latencies_ms.pop()
            if connection and not reusable:
                connection[1].close()
                connection = None
            if self._options.pause:
                await asyncio.sleep(self._options.pause)
        if connection:
            connection[1].close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, bool]:
        fate = "close" if self._options.close else "keep-alive"
        writer.write(f"GET {self._path} HTTP/1.1\r\nHost: {self._host}\r\nConnection: {fate}\r\n\r\n".encode())
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        await reader.readexactly(int(headers["content-length"]))
        return lines[0].split(" ")[1], headers.get("connection") != "close"


class Stream:
    """One connection to an echo server, from beginning to end when all is well: every byte is checked."""

    def __init__(self, host: str, port: int, pause: float) -> None:
        self._host, self._port, self._pause = host, port, pause
        self._bytes = 0
        self._errors: list[str] = []

    async def run(self) -> None:
        """Until STOPPING; when it breaks, which is a failure, another one."""
        while not STOPPING.is_set():
            await self._connection()
            await asyncio.sleep(self._pause)

    async def _connection(self) -> None:
        bytes_of = random.Random(os.getpid())  # noqa: S311 - bytes to tell apart, no secrets
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            while not STOPPING.is_set():
                sent = bytes_of.randbytes(bytes_of.randint(1, 8192))
                async with asyncio.timeout(ANSWER_S):
                    writer.write(sent)
                    await writer.drain()
                    got = await reader.readexactly(len(sent))
                if got != sent:
                    raise ValueError(f"other bytes came back after {self._bytes}")
                self._bytes += len(got)
                await asyncio.sleep(self._pause)
            writer.close()
        except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
            self._errors.append(f"{type(error).__name__}: {error} after {self._bytes} bytes"[:200])

    def report(self) -> Report:
        return {"failed": len(self._errors), "bytes": self._bytes, "errors": self._errors[-3:]}


class Drive:
    """Load of all kinds for as long as the pod runs, and whoever asks on loopback is told what became of it.

    It needs nobody outside: a load that is run by `kubectl exec` ends with the API server.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._loads: dict[str, list[Load]] = {}
        for target in options.http:
            kinds = ({"connections": 2, "close": False}, {"connections": 1, "close": True})
            each = vars(options) | {"target": f"http://{target}/", "seconds": 0, "requests": 0, "timeout": ANSWER_S}
            self._loads[target] = [Load(argparse.Namespace(**each | kind)) for kind in kinds]
        ends = (target.rpartition(":") for target in options.stream)
        self._streams = [Stream(host, int(port), options.pause) for host, _, port in ends]
        self._port = options.port

    async def run(self) -> None:
        """Until SIGTERM."""
        loads = [load for each in self._loads.values() for load in each]
        self._running = [task for load in loads for task in load.begin()]
        self._running += [asyncio.create_task(each.run()) for each in self._streams]
        server = await asyncio.start_server(self._tell, "127.0.0.1", self._port)
        await asked_to_end()
        server.close()

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline() == b"finish\n":
            STOPPING.set()
            await asyncio.wait(self._running)
        targets = {target: [load.report() for load in loads] for target, loads in self._loads.items()}
        streams = [each.report() for each in self._streams]
        every = [report for reports in targets.values() for report in reports]
        report = {
            "failed": sum(each["failed"] for each in (*every, *streams)),
            "requests": {target: sum(each["requests"] for each in reports) for target, reports in targets.items()},
            "failures": [each["failures"] for each in every if each["failures"]],
            "slowest": len(every) and min(each["requests"] for each in every),
            "streams": streams,
        }
        writer.write(json.dumps(report).encode() + b"\n")
        await writer.drain()
        writer.close()


async def driven(options: argparse.Namespace) -> Report:
    """What a `drive` in this pod says; with --finish, its last word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", options.port)
    writer.write(b"finish\n" if options.finish else b"look\n")
    report: Report = json.loads(await reader.readline())
    writer.close()
    return report


async def greet(options: argparse.Namespace) -> Report:
    """One talk with a greeter."""
    reader, writer = await asyncio.open_connection(options.host, options.port)
    greeting = (await reader.readline()).decode().strip()
    writer.write(options.line.encode() + b"\r\n")
    reply = (await reader.readline()).decode().strip()
    writer.write(b"QUIT\r\n")
    farewell = (await reader.readline()).decode().strip()
    writer.close()
    right = bool(greeting) and reply == options.line.upper() and bool(farewell)
    return {"failed": 0 if right else 1, "greeting": greeting, "reply": reply, "farewell": farewell}


async def _greeted(host: str, port: int) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        greeting = (await reader.readline()).decode().strip()
        writer.write(b"QUIT\r\n")
        await reader.read()
    finally:
        writer.close()
    return greeting.removeprefix("220 greetings from ")


async def visit(options: argparse.Namespace) -> Report:
    """Some talks with the greeter at each of many addresses: how often who greeted, or what went wrong, and when."""
    report: Report = {"failed": 0}
    for target in options.targets:
        host, _, port = target.rpartition(":")
        began = time.monotonic()
        while True:
            asked = time.monotonic()
            greetings: Counter[str] = Counter()
            try:
                for _ in range(options.times):
                    async with asyncio.timeout(options.timeout):
                        greetings[await _greeted(host, int(port))] += 1
            except OSError as error:
                failure = {"error": type(error).__name__, "seconds": round(time.monotonic() - asked, 3)}
                if time.monotonic() - began < options.patience:
                    await asyncio.sleep(0.05)
                    continue
                report |= {"failed": report["failed"] + 1, target: failure}
            else:
                report[target] = greetings
            break
    return report


async def reach(options: argparse.Namespace) -> Report:
    """Dial until a connection is accepted and stays: a Service answers some time after its pods are Ready."""
    began, said = time.monotonic(), ""
    while time.monotonic() - began < options.timeout:
        try:
            async with asyncio.timeout(2):  # a dial before kube-proxy knew the Service is never answered
                reader, writer = await asyncio.open_connection(options.host, options.port)
        except OSError as error:
            said = str(error) or type(error).__name__
            await asyncio.sleep(0.05)
            continue
        try:
            async with asyncio.timeout(0.3):  # a proxy on the way may accept first, and reset when it knows better
                if await reader.read(1):
                    return {"failed": 0}
            said = "closed at once"
        except TimeoutError:
            return {"failed": 0}
        except OSError as error:
            said = str(error)
        finally:
            writer.close()
    return {"failed": 1, "error": said}


async def hold(options: argparse.Namespace) -> Report:
    """One connection to a greeter, used every now and then for as long as asked; one line of JSON for each answer."""
    reader, writer = await asyncio.open_connection(options.host, options.port)
    await reader.readline()
    began, answered = time.monotonic(), 0
    report: Report = {"failed": 0, "closed": None}
    while time.monotonic() - began < options.seconds:
        try:
            async with asyncio.timeout(options.timeout):
                writer.write(f"line {answered}\r\n".encode())
                await writer.drain()
                reply = await reader.readline()
        except (OSError, TimeoutError) as error:
            report |= {"failed": 1, "closed": f"{type(error).__name__}: {error}"}
            break
        if reply != f"LINE {answered}\r\n".encode():
            report |= {"failed": 1, "closed": f"answered {reply!r}"}
            break
        answered += 1
        tell({"answered": answered, "seconds": round(time.monotonic() - began, 3)})
        await asyncio.sleep(options.pause)
    writer.close()
    return report | {"answered": answered, "seconds": round(time.monotonic() - began, 3)}


async def send(options: argparse.Namespace) -> Report:
    """Raw bytes, then a half-close, then whatever comes back: for rubbish, and for servers that wait for the end."""
    content = bytes.fromhex(options.hex) if options.hex else b"x" * options.zeros
    reader, writer = await asyncio.open_connection(options.host, options.port)
    async with asyncio.timeout(options.timeout):
        writer.write(content)
        await writer.drain()
        if not options.keep_open:
            writer.write_eof()
        answer = await reader.read(1_000_000)
        while more := await reader.read(1_000_000):
            answer += more
    writer.close()
    return {"failed": 0, "sent": len(content), "answer": answer.decode("latin-1")}


async def grpc_check(options: argparse.Namespace) -> Report:
    """One health check."""
    import grpc.aio
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with grpc.aio.insecure_channel(f"{options.host}:{options.port}") as channel:
        request = health_pb2.HealthCheckRequest()
        answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=options.timeout)
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return {"failed": 0 if serving else 1, "status": int(answer.status)}


# --- wiring


def tell(report: Report) -> None:
    """One line of JSON."""
    print(json.dumps(report), flush=True)  # noqa: T201


def arguments() -> argparse.Namespace:
    """One verb and its options."""
    parser = argparse.ArgumentParser(prog="testapp", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, port in (("http", 8080), ("greeter", 2525), ("sink", 9000), ("echo", 7007), ("grpc", 50051)):
        server = verbs.add_parser(name)
        server.add_argument("--port", type=int, default=port)
        server.add_argument("--host", default="", help="an IPv4 address to listen on alone; not for grpc")
    verbs.add_parser("idle", help="nothing, until SIGTERM")
    drive = verbs.add_parser("drive", help=Drive.__doc__)
    drive.add_argument("--http", action="append", default=[], metavar="host:port")
    drive.add_argument("--stream", action="append", default=[], metavar="host:port", help="of an echo server")
    drive.add_argument("--pause", type=float, default=0.1)
    driven_by = verbs.add_parser("driven")
    driven_by.add_argument("--finish", action="store_true")
    for each in (drive, driven_by):
        each.add_argument("--port", type=int, default=9900)
    load = verbs.add_parser("load", help=Load.__doc__)
    load.add_argument("target", help="http://host:port/path")
    load.add_argument("--connections", type=int, default=1)
    load.add_argument("--seconds", type=float, default=0)
    load.add_argument("--after", type=float, default=0, help="seconds before it begins")
    load.add_argument("--requests", type=int, default=0)
    load.add_argument("--until-eof", action="store_true", help="until standard input ends")
    load.add_argument("--close", action="store_true", help="a new connection for each request")
    load.add_argument("--pause", type=float, default=0, help="seconds between two requests of a connection")
    clients = [verbs.add_parser(name) for name in ("greet", "hold", "send", "grpc-check", "reach")]
    for client in clients:
        client.add_argument("host")
        client.add_argument("port", type=int)
    greets, holds, sends, *_ = clients
    visits = verbs.add_parser("visit")
    visits.add_argument("targets", nargs="+", metavar="host:port")
    visits.add_argument("--times", type=int, default=1)
    visits.add_argument("--patience", type=float, default=0, help="seconds in which a failure is tried again")
    greets.add_argument("--line", default="hello")
    holds.add_argument("--seconds", type=float, default=10)
    holds.add_argument("--pause", type=float, default=0.5)
    sends.add_argument("--hex", default="", help="what to send")
    sends.add_argument("--zeros", type=int, default=0, help="or: that many bytes of no meaning")
    sends.add_argument("--keep-open", action="store_true", help="no half-close: the server must end it")
    for client in (load, visits, *clients):
        client.add_argument("--timeout", type=float, default=5, help="seconds for one answer")
    return parser.parse_args()


async def run(options: argparse.Namespace) -> Report | None:
    """A client's report; None from a server."""
    match options.verb:
        case "http":
            await serve(HttpServer(os.environ.get("NAME") or socket.gethostname()).handle, options.port, options.host)
        case "greeter":
            await serve(greeter, options.port, options.host)
        case "sink":
            await serve(sink, options.port, options.host)
        case "grpc":
            await grpc_health(options.port)
        case "echo":
            await serve(echo, options.port, options.host)
        case "drive":
            await Drive(options).run()
        case "idle":
            await asked_to_end()
        case "load":
            return await Load(options).run()
        case client:
            clients = {
                "greet": greet,
                "visit": visit,
                "hold": hold,
                "send": send,
                "grpc-check": grpc_check,
                "reach": reach,
                "driven": driven,
            }
            try:
                return await clients[client](options)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to read it as the client's answer
                return {"failed": 1, "error": f"{type(error).__name__}: {error}"}
    return None


def main() -> int:
    """0, or 1 when a client's report counts a failure."""
    report = asyncio.run(run(arguments()))
    if report is None:
        return 0
    tell(report)
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
