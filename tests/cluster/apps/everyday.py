#!/opt/apps/bin/python
"""What people run in their clusters: PostgreSQL, Redis, nginx and gRPC, as servers and as a load on them.

`everyday postgresql|redis|nginx|grpc` serves until SIGTERM, with its data in /tmp. `everyday load` runs pgbench,
redis-benchmark, wrk and one gRPC stream against all four at the hosts it is given, and prints one line of JSON; its
exit code is 1 when anything went wrong.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

PORTS = {"postgresql": 5432, "redis": 6379, "nginx": 8080, "grpc": 50051}
BREATH_S = 2.0
"""Between two bursts of a tool that knows no rate: the load is to last, not to fill the machine."""
CHAT = "/test.Talk/Chat"
_NGINX = """
daemon off; worker_processes 1; pid /tmp/nginx.pid; error_log /dev/stderr warn;
events { worker_connections 1024; }
http {
  access_log off; client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
  server { listen 8080; listen [::]:8080; location / { default_type text/plain; return 200 "hello from nginx\\n"; } }
}
"""
Report = dict[str, Any]


# --- servers


def postgresql() -> None:
    """Open to every address: who may connect is for the mesh to say."""
    os.system("initdb --pgdata=/tmp/data --username=app --auth=trust --no-sync >/dev/null")  # noqa: S605
    with Path("/tmp/data/pg_hba.conf").open("a") as rules:
        rules.write("host all all all trust\n")
    settings = {"listen_addresses": "*", "unix_socket_directories": "/tmp", "fsync": "off"}
    os.execvp("postgres", ["postgres", "-D", "/tmp/data", *(f"-c{name}={value}" for name, value in settings.items())])  # noqa: S606


def redis() -> None:
    """Without its guard against strangers, and without a file."""
    os.execvp("redis-server", ["redis-server", "--protected-mode", "no", "--save", "", "--dir", "/tmp"])  # noqa: S606


def nginx() -> None:
    """One short answer to everything."""
    Path("/tmp/nginx.conf").write_text(_NGINX)
    os.execvp("/usr/sbin/nginx", ["nginx", "-c", "/tmp/nginx.conf", "-e", "/dev/stderr"])  # noqa: S606


async def grpc() -> None:
    """A stream in both directions, which gives back what it gets."""
    import grpc.aio

    async def chat(messages: Any, _context: Any) -> Any:
        async for message in messages:
            yield message

    server = grpc.aio.server()
    _, service, method = CHAT.split("/")
    handlers = {method: grpc.stream_stream_rpc_method_handler(chat)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"[::]:{PORTS['grpc']}")
    await server.start()
    await server.wait_for_termination()


# --- the load


async def load(names: dict[str, str], seconds: float) -> Report:
    """All at once; `failed` counts what went wrong, and each tool says what it was."""
    tools = {
        "pgbench": pgbench(names["postgresql"], seconds),
        "redis": bursts(seconds, ["redis-benchmark", "-h", names["redis"], "-c", "8", "-n", "2000", "-t", "set,get"]),
        "wrk": bursts(seconds, ["wrk", "-t1", "-c8", "-d2s", f"http://{names['nginx']}:{PORTS['nginx']}/"]),
        "chat": talk(f"{names['grpc']}:{PORTS['grpc']}", seconds),
    }
    done = await asyncio.gather(*tools.values(), return_exceptions=True)
    report: Report = {}
    for tool, result in zip(tools, done, strict=True):
        ok = isinstance(result, dict)
        report[tool] = result if ok else {"failed": 1, "error": f"{type(result).__name__}: {result}"[:2000]}
    return {"failed": sum(each["failed"] for each in report.values()), **report}


async def pgbench(host: str, seconds: float) -> Report:
    """Connections that stay open from beginning to end, at a modest rate."""
    where = ["--host", host, "--username=app"]
    name = f"bench_{os.getpid()}_{time.time_ns()}"
    await output("createdb", *where, name)
    await output("pgbench", *where, "--initialize", "--quiet", name)
    text = await output(
        "pgbench", *where, "--client=4", "--rate=20", f"--time={seconds:.0f}", "--max-tries=1", "--no-vacuum", name
    )
    [failed] = re.findall(r"number of failed transactions: (\d+)", text)
    [done] = re.findall(r"number of transactions actually processed: (\d+)", text)
    return {"failed": int(failed), "transactions": int(done)}


async def bursts(seconds: float, command: list[str]) -> Report:
    """The same command again and again; each time it opens its connections anew."""
    ends, runs = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        text = await output(*command)
        if re.search(r"Socket errors|Non-2xx|Error", text):
            return {"failed": 1, "bursts": runs, "error": text[-2000:]}
        runs += 1
        await asyncio.sleep(BREATH_S)
    return {"failed": 0, "bursts": runs}


async def talk(target: str, seconds: float) -> Report:
    """One stream from beginning to end: every message comes back."""
    import grpc.aio

    ends, sent = time.monotonic() + seconds, 0
    async with grpc.aio.insecure_channel(target) as channel:
        call = channel.stream_stream(CHAT)()
        while time.monotonic() < ends:
            message = f"message {sent}".encode()
            await call.write(message)
            if await call.read() != message:
                return {"failed": 1, "messages": sent, "error": "another message came back"}
            sent += 1
            await asyncio.sleep(0.1)
        await call.done_writing()
    return {"failed": 0, "messages": sent}


async def output(*command: str) -> str:
    """Of a command that must succeed, with what it complained about."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    text = (await process.communicate())[0].decode()
    if process.returncode:
        raise ChildProcessError(f"{command[0]} ended with {process.returncode}: {text[-1500:]}")
    return text


def main() -> int:
    """0, or 1 when the load counts a failure."""
    parser = argparse.ArgumentParser(prog="everyday", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for server in PORTS:
        verbs.add_parser(server)
    loads = verbs.add_parser("load")
    for server in PORTS:
        loads.add_argument(f"--{server}", required=True, metavar="HOST")
    loads.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    match options.verb:
        case "postgresql":
            postgresql()
        case "redis":
            redis()
        case "nginx":
            nginx()
        case "grpc":
            asyncio.run(grpc())
        case _:
            report = asyncio.run(load({server: getattr(options, server) for server in PORTS}, options.seconds))
            print(json.dumps(report), flush=True)  # noqa: T201
            return 1 if report["failed"] else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
