"""etcd's data copied and put back, as an administrator restores a backup: on our own cluster.

The copy is of its folder while it stands still, and put back as it is: revisions go back, which
`etcdutl snapshot restore --bump-revision` would avoid. Everything that holds what it has seen is started again, as
Kubernetes asks for; what runs in pods is not.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.kube.errors import ClusterError, PartDied
from cluster.kube.parts import INSIDE_PATH, READY_S
from cluster.kube.places import INSIDE, STATE
from cluster.kube.sandbox import Sandbox

_BEFORE = ("etcd", "kube-apiserver")
_AFTER = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
"""Started when the API server is back."""


@dataclass(frozen=True, slots=True)
class _Part:
    pid: int
    command: tuple[str, ...]


class Etcd:
    """Of the cluster in a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._data = Path(f"/proc/{sandbox.record.init.pid}/root/var/lib/etcd")

    def save(self, copy: Path) -> None:
        """Copy what it holds now into a folder that is not there yet."""
        process = self._parts()["etcd"].pid
        os.kill(process, signal.SIGSTOP)
        try:
            shutil.copytree(self._data, copy)
        finally:
            # nsenter(1), its parent, stops with it, and would not see its end.
            for each in (process, _parent(process)):
                os.kill(each, signal.SIGCONT)

    def restore(self, copy: Path, ready: Callable[[], object]) -> None:
        """Have it hold that again; return when `ready` (whose ClusterError means "not yet") says so."""
        parts = self._parts()
        for name in (*_BEFORE, *_AFTER):
            os.kill(parts[name].pid, signal.SIGKILL)
        for each in self._data.iterdir():
            shutil.rmtree(each)
        shutil.copytree(copy, self._data, dirs_exist_ok=True)
        for name in _BEFORE:
            self._start(name, parts[name])
        self._wait(ready)
        for name in _AFTER:
            self._start(name, parts[name])

    def _parts(self) -> dict[str, _Part]:
        """The running ones, by name."""
        found = {}
        ours = os.stat(f"/proc/{self._sandbox.record.init.pid}/ns/mnt")  # noqa: PTH116 - the link leads to no file
        for place in Path("/proc").glob("[0-9]*"):
            try:
                command = tuple((place / "cmdline").read_text().split("\0")[:-1])
                if command and command[0].startswith(f"{INSIDE}/bin/") and (place / "ns" / "mnt").stat() == ours:
                    found[Path(command[0]).name] = _Part(int(place.name), command)
            except OSError:
                continue  # it has ended
        return found

    def _start(self, name: str, part: _Part) -> None:
        words = ["env", "-i", f"PATH={INSIDE_PATH}", "HOME=/root", *part.command]
        with (STATE / "logs" / f"{name}.log").open("ab") as output:
            # Nobody's child: it is to end with the sandbox, not with who started it anew.
            subprocess.run(
                ["setsid", "--fork", *self._sandbox.enter(words)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=True,
            )

    @staticmethod
    def _wait(ready: Callable[[], object]) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                if ready():
                    return
            except ClusterError:
                pass
            if time.monotonic() > deadline:
                raise PartDied(f"the API server does not work {READY_S} s after etcd was restored")
            time.sleep(0.2)


def _parent(process: int) -> int:
    status = Path(f"/proc/{process}/stat").read_text()
    return int(status.rpartition(")")[2].split()[1])
