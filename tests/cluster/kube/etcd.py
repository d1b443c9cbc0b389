"""etcd's data copied and put back, as an administrator restores a backup: on our own cluster.

The copy is of its folder while it stands still, and put back as it is: revisions go back, which
`etcdutl snapshot restore --bump-revision` would avoid. Everything that holds what it has seen is started again, as
Kubernetes asks for; what runs in pods is not.
"""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from cluster.kube.running import programs, start, wait_for
from cluster.kube.sandbox import Sandbox

_BEFORE = ("etcd", "kube-apiserver")
_AFTER = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
"""Started when the API server is back."""


class Etcd:
    """Of the cluster in a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._data = Path(f"/proc/{sandbox.record.init.pid}/root/var/lib/etcd")

    def save(self, copy: Path) -> None:
        """Copy what it holds now into a folder that is not there yet."""
        [etcd] = programs(self._sandbox, ["etcd"])
        process = etcd.process.pid
        os.kill(process, signal.SIGSTOP)
        try:
            shutil.copytree(self._data, copy)
        finally:
            # nsenter(1), its parent, stops with it, and would not see its end.
            for each in (process, _parent(process)):
                os.kill(each, signal.SIGCONT)

    def restore(self, copy: Path, ready: Callable[[], object]) -> None:
        """Have it hold that again; return when `ready` (whose ClusterError means "not yet") says so."""
        found = programs(self._sandbox, (*_BEFORE, *_AFTER))
        for each in found:
            each.kill()
        for folder in self._data.iterdir():
            shutil.rmtree(folder)
        shutil.copytree(copy, self._data, dirs_exist_ok=True)
        for each in found[: len(_BEFORE)]:
            start(self._sandbox, each)
        wait_for("the API server", ready)
        for each in found[len(_BEFORE) :]:
            start(self._sandbox, each)


def _parent(process: int) -> int:
    status = Path(f"/proc/{process}/stat").read_text()
    return int(status.rpartition(")")[2].split()[1])
