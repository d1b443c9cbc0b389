"""The application behind every pair: one nginx worker, the same for all, that also counts for us.

Its count of requests (`stub_status`, on a Unix socket that needs no namespace) is what lets a window be measured while
it lasts, without the handshakes of a run's beginning.
"""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from handfast_bench.identities import Identities, write_files
from handfast_bench.limits import open_files
from handfast_bench.namespaces import CLIENT, SERVER, SERVER_IP, BenchFailed, Namespaces
from handfast_bench.sidecars import PODS

if TYPE_CHECKING:
    from subprocess import Popen

PORT: Final = 8080
TLS_PORT: Final = 8443
"""The same with TLS of its own, mutual if the client can: what an application without a mesh would do."""
SERVER_NAME: Final = "server.bench.example"
BIG_BYTES: Final = 100_000_000
_START_S: Final = 5.0
_CONFIG: Final = """
daemon off; worker_processes 1; worker_rlimit_nofile {files}; user root; pid {folder}/nginx.pid;
events {{ worker_connections 24576; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000000; keepalive_timeout 3600s;
  server {{
    listen {ip}:{port} backlog=4096;
    listen {ip}:{tls_port} ssl backlog=4096;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:4m;
    ssl_certificate {identity}/tls.crt; ssl_certificate_key {identity}/tls.key;
    ssl_client_certificate {identity}/ca.crt; ssl_verify_client optional;
    location / {{ default_type text/plain; return 200 "hello world\\n"; }}
    location = /big {{ root {folder}; }}
  }}
  server {{ listen unix:{folder}/status.sock; location / {{ stub_status; }} }}
}}
"""
_STATUS: Final = re.compile(rb"requests\n (\d+) \d+ (\d+) \n.*Waiting: \d+ \n", re.DOTALL)
_KERNEL: Final = """
echo 20000 65000 > /proc/sys/net/ipv4/ip_local_port_range
echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse
"""
"""A connection for each request uses up the usual ports within seconds; above all the ports that we listen on."""


@dataclass(frozen=True, slots=True)
class Served:
    """What the application has seen since it began."""

    connections: int
    requests: int


@dataclass(slots=True)
class Backend:
    """A running one. Its counters are read over one connection that stays open."""

    folder: Path
    _status: socket.socket
    _asked: int = 0

    def served(self) -> Served:
        """Its counters, without our own questions. Raises BenchFailed."""
        self._status.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
        self._asked += 1
        answer = b""
        while (found := _STATUS.search(answer)) is None:
            piece = self._status.recv(4096)
            if not piece:
                raise BenchFailed(f"nginx's stub_status ended with {answer!r}: see {self.folder}")
            answer += piece
        return Served(connections=int(found[1]) - 1, requests=int(found[2]) - self._asked)


def write_big_file(folder: Path) -> Path:
    """Random bytes for the bulk cases: made once in a run, and linked into each back end's folder."""
    big = folder / "big"
    with big.open("wb") as file:
        for _ in range(BIG_BYTES // 1_000_000):
            file.write(os.urandom(1_000_000))
    return big


@contextmanager
def backend(spaces: Namespaces, folder: Path, identities: Identities, big: Path) -> Iterator[Backend]:
    """In the server's namespace, listening; it ends with the block. Raises BenchFailed."""
    files = identities.files(PODS[SERVER].spiffe_id, "application", dns_names=(SERVER_NAME,))
    write_files(folder / "application", files)
    (folder / "big").symlink_to(big)
    config = folder / "nginx-backend.conf"
    config.write_text(
        _CONFIG.format(
            folder=folder,
            identity=folder / "application",
            ip=SERVER_IP,
            port=PORT,
            tls_port=TLS_PORT,
            files=open_files(),
        )
    )
    for where in (CLIENT, SERVER):
        spaces.run(where, ["sh", "-c", _KERNEL])
    log = folder / "nginx-backend.log"
    process = spaces.start(SERVER, ["nginx", "-e", log, "-c", config], log=log)
    try:
        with _connected(process, folder / "status.sock", log) as status:
            yield Backend(folder, status)
    finally:
        spaces.stop(process)


def _connected(process: "Popen[bytes]", path: Path, log: Path) -> socket.socket:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        status = socket.socket(socket.AF_UNIX)
        try:
            status.connect(str(path))
        except OSError:
            status.close()
            time.sleep(0.05)
        else:
            return status
    raise BenchFailed(f"the back end does not listen: {log.read_text()[-1000:]}")
