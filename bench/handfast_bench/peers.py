"""The proxies that are measured, each a pair with one worker a side and mutual TLS 1.3 from the same root.

Every peer is set up as its manual would have it for this task, with its defaults: TLS sessions are resumed where it
resumes them by itself.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from handfast_bench import gorelay
from handfast_bench.backend import PORT, SERVER_NAME
from handfast_bench.identities import Identities, write_files
from handfast_bench.limits import open_files, relayed_connections
from handfast_bench.namespaces import CLIENT, SERVER, SERVER_IP, BenchFailed, Namespaces
from handfast_bench.pair import DIRECT, OURS, SOCKETS, YARDSTICK, Pair
from handfast_bench.sidecars import PODS, sidecars
from handfast_bench.usage import family, listens
from handfast_sidecar.config.cipher_suites import KNOWN
from handfast_sidecar.wellknown import ENV_CIPHER_SUITES

if TYPE_CHECKING:
    from subprocess import Popen

LISTEN_PORT: Final = 9101
"""Of the client-side proxy, on the loopback of the client's namespace."""
MESH_PORT: Final = 9102
"""Of the server-side proxy."""
IDLE_S: Final = 600
_START_S: Final = 10.0
NGINX_STREAM: Final = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
_HAPROXY: Final = """
global
  nbthread 1
  maxconn {maxconn}
defaults
  mode tcp
  timeout connect 5s
  timeout client {idle}s
  timeout server {idle}s
listen relay
  bind {accept} {accept_tls}
  server next {connect} {connect_tls}
"""
_HAPROXY_TLS: Final = "ssl ssl-min-ver TLSv1.3 verify required ca-file {identity}/ca.crt crt {identity}/both.pem"
_NGINX: Final = """
load_module {module};
daemon off; worker_processes 1; worker_rlimit_nofile {files}; user root; pid {folder}/nginx-{where}.pid;
events {{ worker_connections 24576; }}
stream {{
  proxy_timeout {idle}s;
  server {{ listen {accept}{accept_ssl} backlog=4096; proxy_pass {connect}; {tls} }}
}}
"""
_NGINX_TLS: Final = {
    CLIENT: """
    proxy_ssl on; proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_name {name};
    proxy_ssl_certificate {identity}/tls.crt; proxy_ssl_certificate_key {identity}/tls.key;
    proxy_ssl_trusted_certificate {identity}/ca.crt;
    """,
    SERVER: """
    ssl_protocols TLSv1.3; ssl_verify_client on; ssl_client_certificate {identity}/ca.crt;
    ssl_certificate {identity}/tls.crt; ssl_certificate_key {identity}/tls.key;
    """,
}
_STUNNEL: Final = """
foreground = yes
pid =
syslog = no
debug = warning
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[relay]
client = {client}
accept = {accept}
connect = {connect}
sslVersion = TLSv1.3
cert = {identity}/tls.crt
key = {identity}/tls.key
CAfile = {identity}/ca.crt
requireCert = yes
verifyChain = yes
"""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a pair is started."""

    spaces: Namespaces
    folder: Path
    """Its own: configuration, keys, logs."""
    identities: Identities


@dataclass(frozen=True, slots=True)
class _Side:
    """One half of a pair."""

    where: str
    accept: str
    connect: str
    identity: Path
    folder: Path

    @property
    def tls_accepts(self) -> bool:
        return self.where == SERVER


_Command = Callable[[_Side], Sequence[str | Path]]
Maker = Callable[[Site], AbstractContextManager[Pair]]


@contextmanager
def direct(_site: Site) -> Iterator[Pair]:
    """No proxy at all."""
    yield Pair(SERVER_IP, PORT)


@contextmanager
def handfast(site: Site, environment: Mapping[str, str] | None = None) -> Iterator[Pair]:
    """Ours, dialled as an application does: by the server's own address."""
    with sidecars(site.spaces, site.folder, environment=environment) as pair:
        client, server = pair.pids
        yield Pair(SERVER_IP, PORT, family(client), family(server))


@contextmanager
def sockets(site: Site) -> Iterator[Pair]:
    """One haproxy without TLS: what the sockets of both applications cost, and no proxy can do without."""
    config, log = site.folder / "haproxy.cfg", site.folder / "haproxy.log"
    config.write_text(
        _HAPROXY.format(
            accept=f"127.0.0.1:{LISTEN_PORT}",
            connect=f"{SERVER_IP}:{PORT}",
            accept_tls="",
            connect_tls="",
            idle=IDLE_S,
            maxconn=relayed_connections(),
        )
    )
    process = site.spaces.start(CLIENT, ["haproxy", "-db", "-f", config], log=log)
    try:
        _wait_listening(process, LISTEN_PORT, log)
        yield Pair("127.0.0.1", LISTEN_PORT, family(process.pid))
    finally:
        site.spaces.stop(process)


def _haproxy(side: _Side) -> Sequence[str | Path]:
    (side.identity / "both.pem").write_bytes(
        (side.identity / "tls.crt").read_bytes() + (side.identity / "tls.key").read_bytes()
    )
    tls = _HAPROXY_TLS.format(identity=side.identity)
    config = side.folder / f"haproxy-{side.where}.cfg"
    config.write_text(
        _HAPROXY.format(
            accept=side.accept,
            connect=side.connect,
            accept_tls=tls if side.tls_accepts else "",
            connect_tls="" if side.tls_accepts else tls,
            idle=IDLE_S,
            maxconn=relayed_connections(),
        )
    )
    return ["haproxy", "-db", "-f", config]


def _nginx(side: _Side) -> Sequence[str | Path]:
    config = side.folder / f"nginx-{side.where}.conf"
    config.write_text(
        _NGINX.format(
            module=NGINX_STREAM,
            files=open_files(),
            folder=side.folder,
            where=side.where,
            idle=IDLE_S,
            accept=side.accept,
            accept_ssl=" ssl" if side.tls_accepts else "",
            connect=side.connect,
            tls=_NGINX_TLS[side.where].format(identity=side.identity, name=SERVER_NAME),
        )
    )
    return ["nginx", "-e", side.folder / f"nginx-{side.where}.log", "-c", config]


def _stunnel(side: _Side) -> Sequence[str | Path]:
    config = side.folder / f"stunnel-{side.where}.conf"
    client = "no" if side.tls_accepts else "yes"
    config.write_text(_STUNNEL.format(client=client, accept=side.accept, connect=side.connect, identity=side.identity))
    return ["stunnel4", config]


def _go(side: _Side) -> Sequence[str | Path]:
    return gorelay.command(
        accepts_tls=side.tls_accepts, accept=side.accept, connect=side.connect, identity=side.identity, name=SERVER_NAME
    )


def _pair(command: _Command, environment: dict[str, str] | None = None) -> Maker:
    @contextmanager
    def start(site: Site) -> Iterator[Pair]:
        sides = {
            SERVER: (f"{SERVER_IP}:{MESH_PORT}", f"{SERVER_IP}:{PORT}"),
            CLIENT: (f"127.0.0.1:{LISTEN_PORT}", f"{SERVER_IP}:{MESH_PORT}"),
        }
        processes: dict[str, Popen[bytes]] = {}
        try:
            for where, (accept, connect) in sides.items():
                identity = site.folder / f"{where}-identity"
                pod = PODS[where]
                write_files(identity, site.identities.files(pod.spiffe_id, pod.name, dns_names=(SERVER_NAME,)))
                words = command(_Side(where, accept, connect, identity, site.folder))
                log = site.folder / f"{where}.log"
                processes[where] = site.spaces.start(where, words, log=log, environment=environment)
                _wait_listening(processes[where], int(accept.rpartition(":")[2]), log)
            client, server = family(processes[CLIENT].pid), family(processes[SERVER].pid)
            yield Pair("127.0.0.1", LISTEN_PORT, client, server)
        finally:
            for process in processes.values():
                site.spaces.stop(process)

    return start


def _wait_listening(process: "Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while process.poll() is None:
        if listens(process.pid, port):
            time.sleep(0.2)  # nginx's master listens before its worker exists
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    raise BenchFailed(f"nobody listens on port {port}: {log.read_text()[-1000:]}")


MAKERS: Final[dict[str, Maker]] = {
    DIRECT: direct,
    SOCKETS: sockets,
    OURS: handfast,
    YARDSTICK: _pair(_haproxy),
    "nginx": _pair(_nginx),
    "stunnel": _pair(_stunnel),
    "go": _pair(_go, {"GOMAXPROCS": "1"}),
}

SUITES: Final[Mapping[str, Maker]] = {
    suite: partial(handfast, environment={ENV_CIPHER_SUITES: suite}) for suite in KNOWN
}
"""Ours with one cipher suite alone, by its name."""
