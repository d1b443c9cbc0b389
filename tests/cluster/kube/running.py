"""The programs of a cluster that runs, whoever started them: found, ended, and started again with the same words."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.kube.errors import ClusterError, PartDied
from cluster.kube.parts import INSIDE_PATH, READY_S
from cluster.kube.places import INSIDE, STATE
from cluster.kube.processes import ProcessId
from cluster.kube.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Program:
    """One that runs in a sandbox."""

    process: ProcessId
    command: tuple[str, ...]

    @property
    def name(self) -> str:
        """Such as `etcd`."""
        return Path(self.command[0]).name

    def kill(self) -> None:
        """SIGKILL; return when it is gone."""
        self.process.kill()


def running(sandbox: Sandbox) -> Iterator[Program]:
    """Every one of ours that runs now; containers are not among them, their shims are."""
    ours = os.stat(f"/proc/{sandbox.record.init.pid}/ns/mnt")  # noqa: PTH116 - the link leads to no file
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = tuple((place / "cmdline").read_text().split("\0")[:-1])
            if command and command[0].startswith(f"{INSIDE}/bin/") and (place / "ns" / "mnt").stat() == ours:
                process = ProcessId.of(int(place.name))
                if process is not None:
                    yield Program(process, command)
        except OSError:
            continue  # it has ended


def programs(sandbox: Sandbox, names: Sequence[str]) -> list[Program]:
    """Those of these names, in this order. PartDied: one does not run."""
    found = {each.name: each for each in running(sandbox)}
    if missing := [name for name in names if name not in found]:
        raise PartDied(f"of the cluster's programs {', '.join(missing)} should run, and does not")
    return [found[name] for name in names]


def start(sandbox: Sandbox, program: Program) -> None:
    """Once more, as it was started before."""
    words = ["env", "-i", f"PATH={INSIDE_PATH}", "HOME=/root", *program.command]
    with (STATE / "logs" / f"{program.name}.log").open("ab") as output:
        # Nobody's child: it is to end with the sandbox, not with who started it anew.
        subprocess.run(
            ["setsid", "--fork", *sandbox.enter(words)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=True,
        )


@contextmanager
def without(sandbox: Sandbox, *names: str) -> Iterator[None]:
    """These programs are killed, and run again after the block."""
    ended = programs(sandbox, names)
    for each in ended:
        each.kill()
    try:
        yield
    finally:
        for each in ended:
            start(sandbox, each)


def wait_for(what: str, ready: Callable[[], object]) -> None:
    """Return when `ready` (whose ClusterError means "not yet") says so. PartDied: it does not."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            if ready():
                return
        except ClusterError:
            pass
        if time.monotonic() > deadline:
            raise PartDied(f"{what} does not work {READY_S} s after it was started again")
        time.sleep(0.2)
