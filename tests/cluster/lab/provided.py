"""The lab for tests: started as a user would, with the test applications as one more of its images."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from cluster.cluster import Cluster
from cluster.kube.commands import run
from cluster.kube.errors import ClusterError, PartDied
from cluster.kube.manifests import to_text
from cluster.release import Release
from handfast_lab.network.links import BRIDGE

APPS = "handfast/testapp:lab"
TESTAPP = Path(__file__).parents[1] / "apps" / "testapp.py"
MANIFEST = Path(__file__).parents[3] / "lab" / "handfast_lab" / "install" / "handfast.yaml"
START_S = 30


class LabNode:
    """The lab's own namespaces."""

    bridge = BRIDGE

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @property
    def network(self) -> Path:
        """Its network namespace."""
        return Path(f"/proc/{self._pid}/ns/net")

    def run(self, command: Sequence[str | Path], *, stdin: str | None = None, timeout_s: float = 120) -> str:
        """Run a command of this machine in the lab's network; its output."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        entered = ["nsenter", f"--target={self._pid}", *user, "--net", "--", *map(str, command)]
        return run(entered, stdin=stdin, timeout_s=timeout_s)


class LabRelease(Release):
    """Handfast as the lab has it: the chart's own objects, rendered once."""

    def install(self, *settings: str) -> None:
        """Apply them until they work."""
        if settings:
            raise ClusterError(f"the lab has no chart to set {', '.join(settings)} in")
        if not self._there():
            self._kubectl("create", "namespace", self.namespace)
        self._kubectl("apply", "--server-side", "--force-conflicts", "-f", str(MANIFEST))
        self.wait_working()

    def uninstall(self) -> None:
        """Delete them; the namespace and the custom resource definitions stay, as Helm leaves them."""
        gone = [each for each in yaml.safe_load_all(MANIFEST.read_text()) if each["kind"] != "CustomResourceDefinition"]
        self._kubectl("delete", "-f", "-", "--ignore-not-found", stdin=to_text(gone))

    def _there(self) -> bool:
        return bool(self._kubectl("get", "namespace", self.namespace, "--ignore-not-found", "-o", "name"))


class Lab(Cluster):
    """A cluster without a cluster."""

    def command(self, tool: str, *words: str) -> list[str]:
        """The lab's own little kubectl: a fresh machine has no other."""
        if tool != "kubectl":
            raise ClusterError(f"the lab has no {tool}")
        return [sys.executable, "-m", "handfast_lab.kubectl", f"--kubeconfig={self.kubeconfig}", *words]

    def release(self) -> Release:
        """From the rendered chart."""
        return LabRelease(self)


@contextmanager
def started() -> Iterator[Lab]:
    """Start one; it ends with the block."""
    with TemporaryDirectory(prefix="handfast-lab-") as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        words = ["lab", f"--kubeconfig={kubeconfig}", f"--image={APPS}={TESTAPP}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "handfast_lab", *words], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        try:
            if "ready" not in process.stdout.readline():
                raise PartDied("the lab did not start; what it said is above")
            yield Lab(kubeconfig, APPS, LabNode(_child(_child(process.pid))))
        finally:
            process.terminate()
            process.wait(START_S)
            process.stdout.close()


def _child(pid: int) -> int:
    """The one child of a process: the lab is that of unshare, which is that of the program a user starts."""
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)
