"""The ways a connection may take: directly, through a pair of sidecars, and through one that passes it on.

Everything in between is real: network namespaces, the redirect, the proxies under their own user, a directory.
Needs root, as `make test` has it; without it these tests fail.
"""

import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from handfast_bench.limits import raise_open_files
from handfast_bench.namespaces import (
    CLIENT,
    CONTROL,
    CONTROL_IP,
    SERVER,
    SERVER_IP,
    BenchFailed,
    Namespaces,
    namespaces,
)
from handfast_bench.sidecars import PODS, Sidecars, sidecars
from support.netns import inside

BENCH: Final = Path(__file__).parent.parent.parent / "bench"
IPV6: Final = {CLIENT: "fd77::1", SERVER: "fd77::2"}
CONTROL_IPV6: Final = "fd78::1"


@dataclass(frozen=True)
class Way:
    """From one namespace to another."""

    name: str
    client: str
    server: str
    addresses: dict[int, str]
    """The server's, by IP version."""

    def listen(self, family: int, port: int = 0, *, backlog: int = 128) -> socket.socket:
        """A server's socket; on a free port if none is named."""
        address = (self.addresses[family], port)
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        return inside(self.server, lambda: socket.create_server(address, family=kind, backlog=backlog))

    def sockets(self, family: int, count: int) -> list[socket.socket]:
        """A client's, not connected."""
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        return inside(self.client, lambda: [socket.socket(kind, socket.SOCK_STREAM) for _ in range(count)])

    def dial(self, family: int, port: int, timeout_s: float = 10) -> socket.socket:
        """A client's connection. Raises OSError."""
        [sock] = self.sockets(family, 1)
        try:
            sock.settimeout(timeout_s)
            sock.connect((self.addresses[family], port))
        except BaseException:
            sock.close()
            raise
        return sock


@dataclass(frozen=True)
class Ways:
    """All of them, and the sidecars of those that have any."""

    direct: Way
    meshed: Way
    passed_on: Way
    pair: Sidecars

    @property
    def through(self) -> tuple[Way, Way]:
        """Those that a sidecar is in."""
        return self.meshed, self.passed_on


@pytest.fixture(scope="package")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    """Ready for connections."""
    try:
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("PYTHONPATH", str(BENCH))  # for the processes that the pair starts
            stack.enter_context(_open_files())
            bare = stack.enter_context(_dual_stack())
            spaces = stack.enter_context(_dual_stack())
            pods = {where: replace(pod, ip6=IPV6[where]) for where, pod in PODS.items()}
            pair = stack.enter_context(sidecars(spaces, tmp_path_factory.mktemp("pair"), pods=pods))
            server = {4: SERVER_IP, 6: IPV6[SERVER]}
            yield Ways(
                Way("direct", bare.names[CLIENT], bare.names[SERVER], server),
                Way("meshed", spaces.names[CLIENT], spaces.names[SERVER], server),
                Way("passed on", spaces.names[CLIENT], spaces.names[CONTROL], {4: CONTROL_IP, 6: CONTROL_IPV6}),
                pair,
            )
    except BenchFailed as failure:
        pytest.fail(f"{failure}: run `make test` as root")


@contextmanager
def _dual_stack() -> Iterator[Namespaces]:
    """Namespaces as the benchmarks have them, and IPv6 on the links that we dial over."""
    with namespaces() as made:
        for where, interface, address in (
            (CLIENT, "eth0", IPV6[CLIENT]),
            (SERVER, "eth0", IPV6[SERVER]),
            (CLIENT, "eth1", "fd78::2"),
            (CONTROL, "to-client", CONTROL_IPV6),
        ):
            words = ["ip", "-n", made.names[where], "addr", "add", f"{address}/64", "dev", interface, "nodad"]
            subprocess.run(words, check=True, timeout=10)
        yield made


@contextmanager
def _open_files() -> Iterator[None]:
    """As many as we may have, also for the sidecars, until the block ends."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_open_files()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
