"""Where a pair of proxies is measured: a network namespace each for client and server, joined by a veth pair.

A third one, `control`, stands for the rest of the cluster: the directory lives there. Everything ends with the block:
the namespaces are ours alone and have no way out.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

CLIENT, SERVER, CONTROL = "client", "server", "control"
CLIENT_IP: Final = "10.77.0.1"
SERVER_IP: Final = "10.77.0.2"
CONTROL_IP: Final = "10.78.0.1"
_CONTROL_LINKS: Final = {CLIENT: "10.78.0.2", SERVER: "10.78.0.3"}
TOOLS: Final = {"ip": "iproute2", "nft": "nftables", "unshare": "util-linux", "setpriv": "util-linux"}
END_S: Final = 5.0
"""Seconds that a process gets after SIGTERM."""


class BenchFailed(Exception):
    """It cannot be measured; the message says what to do."""


@dataclass
class Namespaces:
    """Three namespaces and the processes in them."""

    names: Mapping[str, str]
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, where: str, command: Sequence[str | Path]) -> list[str]:
        """The words that run a command in a namespace."""
        return ["ip", "netns", "exec", self.names[where], *map(str, command)]

    def run(
        self, where: str, command: Sequence[str | Path], *, stdin: str | None = None, timeout_s: float = 120
    ) -> str:
        """What a command printed. Raises BenchFailed with its last words."""
        words = self.command(where, command)
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode:
            raise BenchFailed(f"{' '.join(map(str, command))}: exit code {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def start(
        self,
        where: str,
        command: Sequence[str | Path],
        *,
        log: Path | IO[bytes],
        environment: Mapping[str, str] | None = None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """A process that runs until `stop` or the end of the block; what it prints goes to `log`."""
        with log.open("ab") if isinstance(log, Path) else os.fdopen(os.dup(log.fileno()), "ab") as output:
            process = subprocess.Popen(
                self.command(where, command),
                stdin=stdin,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
            )
        self._processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """SIGTERM, and SIGKILL when that is not enough."""
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._processes.remove(process)

    def end(self) -> None:
        """Every process that still runs, the last first."""
        for process in reversed(list(self._processes)):
            self.stop(process)


@contextmanager
def namespaces() -> Iterator[Namespaces]:
    """Make them; they and their processes end with the block. Raises BenchFailed."""
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if os.geteuid() != 0:
        raise BenchFailed("network namespaces need root here: run it with sudo")
    if missing:
        raise BenchFailed(f"please install {', '.join(missing)}: apt-get install {' '.join(missing)}")
    mark = secrets.token_hex(3)
    made = Namespaces({where: f"hf-bench-{where}-{mark}" for where in (CLIENT, SERVER, CONTROL)})
    try:
        for name in made.names.values():
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _link(made.names[CLIENT], made.names[SERVER], "eth0", "eth0", CLIENT_IP, SERVER_IP)
        for where, address in _CONTROL_LINKS.items():
            _link(made.names[where], made.names[CONTROL], "eth1", f"to-{where}", address, CONTROL_IP, prefix=32)
            _ip("-n", made.names[where], "route", "add", CONTROL_IP, "dev", "eth1", "src", address)
            _ip("-n", made.names[CONTROL], "route", "add", address, "dev", f"to-{where}", "src", CONTROL_IP)
        yield made
    finally:
        made.end()
        for name in made.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _link(one: str, other: str, one_end: str, other_end: str, address: str, peer: str, *, prefix: int = 24) -> None:
    _ip("link", "add", one_end, "netns", one, "type", "veth", "peer", "name", other_end, "netns", other)
    for name, end, ip in ((one, one_end, address), (other, other_end, peer)):
        _ip("-n", name, "addr", "add", f"{ip}/{prefix}", "dev", end)
        _ip("-n", name, "link", "set", end, "up")


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchFailed(f"ip {' '.join(words)}: {done.stderr.strip()}")
