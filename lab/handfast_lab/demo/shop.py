"""The shop of the demo: web asks cart, cart asks orders. Plain HTTP, and no word of Handfast in it.

`serve NAME [--ask URL]` serves until SIGTERM; `get URL` is a client's single request; `load URL` keeps asking over
connections that stay open, and says how many requests failed.
"""

import argparse
import http.client
import json
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

PORT: Final = 8080
TIMEOUT_S: Final = 5.0
SECRET: Final = "card 4929-1234-5678-9012"  # noqa: S105 - what must not be read on the way
"""What orders answers: easy to spot in a capture."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The program that the shop's containers run."""
    parser = argparse.ArgumentParser(prog="shop")
    verbs = parser.add_subparsers(dest="verb", required=True)
    serving = verbs.add_parser("serve")
    serving.add_argument("name")
    serving.add_argument("--ask", default="", metavar="URL", help="whom to ask for a part of the answer")
    verbs.add_parser("get").add_argument("url")
    loading = verbs.add_parser("load")
    loading.add_argument("url")
    loading.add_argument("--connections", type=int, default=8)
    loading.add_argument("--seconds", type=float, default=10)
    verbs.add_parser("idle")
    chosen = parser.parse_args(arguments)
    match chosen.verb:
        case "serve":
            return serve(chosen.name, chosen.ask)
        case "get":
            return get(chosen.url)
        case "load":
            return load(chosen.url, chosen.connections, chosen.seconds)
        case _:
            return wait_for_the_end()


def serve(name: str, ask: str) -> int:
    """Answer on PORT until SIGTERM."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, answer = 200, f"{name}: {SECRET if not ask else 'here you are'}\n"
            if ask and self.path != "/healthz":
                status, behind = fetch(ask)
                answer = f"{name} <- {behind}"
            body = answer.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Applications of a demo do not chat."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6
        daemon_threads = True
        request_queue_size = 128

    server = Server(("::", PORT), Handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    return 0


def fetch(url: str) -> tuple[int, str]:
    """Status and text of one GET; 502 and the reason when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http alone, named by the demo
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        return 502, f"no answer from {url}: {reason}\n"


def get(url: str) -> int:
    """Print what one request brought; 1 when it brought no good answer."""
    status, text = fetch(url)
    sys.stdout.write(text)
    return int(status != 200)


def load(url: str, connections: int, seconds: float) -> int:
    """Ask over connections that stay open until the time is up, then say how it went."""
    end = threading.Event()
    workers = [Worker(url, end) for _ in range(connections)]
    threads = [threading.Thread(target=each.run) for each in workers]
    for thread in threads:
        thread.start()
    end.wait(seconds)
    end.set()
    for thread in threads:
        thread.join()
    report = {
        "seconds": seconds,
        "requests": sum(each.requests for each in workers),
        "failed": sum(each.failed for each in workers),
        "connections": sum(each.opened for each in workers),
    }
    sys.stdout.write(json.dumps(report) + "\n")
    return int(report["failed"] > 0)


class Worker:
    """One connection's worth of load."""

    def __init__(self, url: str, end: threading.Event) -> None:
        self._url = urlsplit(url)
        self._end = end
        self.requests = self.failed = self.opened = 0

    def run(self) -> None:
        """Until the end, a request after the other."""
        connection: http.client.HTTPConnection | None = None
        while not self._end.is_set():
            self.requests += 1
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(self._url.netloc, timeout=TIMEOUT_S)
                    self.opened += 1
                connection.request("GET", self._url.path or "/")
                answer = connection.getresponse()
                answer.read()
                self.failed += answer.status != 200
            except (OSError, http.client.HTTPException):
                self.failed += 1
                connection = None
            self._end.wait(0.01)  # a demo, not a benchmark
        if connection is not None:
            connection.close()


def wait_for_the_end() -> int:
    """A place for clients."""
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    end.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
