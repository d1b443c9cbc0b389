"""The lab for tests: started as a user would, with the test applications as one more of its images."""

import os
import ssl
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPSConnection
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

    # --- bad days of the API server, which the lab can have on demand

    @contextmanager
    def without_api_server(self) -> Iterator[None]:
        """It breaks every connection and answers nobody while the block runs."""
        self._order("away")
        try:
            yield
        finally:
            self._order("back")

    def save(self, name: str) -> None:
        """As a backup of etcd."""
        self._order(f"save/{name}")

    def restore(self, name: str) -> None:
        """etcd from that backup, and the API server started again; revisions go back."""
        self._order(f"restore/{name}")

    def _order(self, what: str) -> None:
        document = yaml.safe_load(self.kubeconfig.read_text())
        found = document["clusters"][0]["cluster"]
        trust = ssl.create_default_context(cadata=b64decode(found["certificate-authority-data"]).decode())
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
        connection = HTTPSConnection(found["server"].removeprefix("https://"), context=trust, timeout=10)
        with closing(connection):
            connection.request("POST", f"/lab/{what}")
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()


@contextmanager
def started(images: Mapping[str, Path] | None = None) -> Iterator[Lab]:
    """Start one; it ends with the block. `images`: further programs, by the names of images."""
    with TemporaryDirectory(prefix="handfast-lab-") as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        programs = {APPS: TESTAPP, **(images or {})}
        words = ["lab", f"--kubeconfig={kubeconfig}", *(f"--image={each}={it}" for each, it in programs.items())]
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
