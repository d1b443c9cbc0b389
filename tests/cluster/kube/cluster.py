"""The cluster as tests see it, whether we started it or were pointed at it."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast

from cluster.kube import capture, lifecycle, node
from cluster.kube.capture import Capture
from cluster.kube.client import Kubectl, exec_words
from cluster.kube.errors import ClusterError, MachineUnfit
from cluster.kube.images import Images
from cluster.kube.manifests import Manifest
from cluster.kube.places import KUBECONFIG
from cluster.kube.sandbox import Sandbox
from cluster.kube.workloads import Workloads

IMAGE_VARIABLES = {
    "operator": "HANDFAST_OPERATOR_IMAGE",
    "sidecar": "HANDFAST_SIDECAR_IMAGE",
    "apps": "HANDFAST_APPS_IMAGE",
}


class Cluster(Kubectl):
    """Everything `Kubectl` does, with the images to use, the test applications, and the wire when the node is ours."""

    def __init__(self, kubeconfig: Path, images: Images, ours: Sandbox | None) -> None:
        super().__init__(kubeconfig)
        self.images = images
        self.workloads = Workloads(images.apps)
        self._sandbox = ours

    @classmethod
    @contextmanager
    def started(cls) -> Iterator["Cluster"]:
        """Build and start one; it ends with the block."""
        ours = lifecycle.up(keep=False)
        try:
            yield cls(KUBECONFIG, lifecycle.load(ours), ours)
        finally:
            ours.end()

    @classmethod
    def existing(cls, kubeconfig: Path, environment: Mapping[str, str]) -> "Cluster":
        """The one that HANDFAST_KUBECONFIG names; its images come from variables, or from our own `cluster-load`."""
        ours = Sandbox.running() if kubeconfig.resolve() == KUBECONFIG else None
        loaded = lifecycle.loaded() if ours else None
        named = {part: environment.get(variable) for part, variable in IMAGE_VARIABLES.items()}
        known = {part: named[part] or (getattr(loaded, part) if loaded else "") for part in IMAGE_VARIABLES}
        missing = [IMAGE_VARIABLES[part] for part, reference in known.items() if not reference]
        if missing:
            raise MachineUnfit(
                f"a cluster that exists must be told which images it can pull: set {', '.join(missing)}, "
                "or on our own cluster run `make cluster-load`"
            )
        return cls(kubeconfig, Images(**cast("dict[str, str]", known)), ours)

    def kubectl(self, *words: str, input: str | None = None) -> str:  # noqa: A002 - subprocess's own word for it
        """`kubectl WORDS...`: its standard output."""
        return self(*words, stdin=input)

    # --- the test applications

    def client(self, pod: str, namespace: str, *verb: str, timeout_s: float = 60) -> Manifest:
        """Run a client verb of the test application in a pod; its report, also when it failed (`failed` counts)."""
        words = exec_words(pod, namespace, ["testapp", *verb], "app")
        done = subprocess.run(
            self.command("kubectl", *words), capture_output=True, text=True, timeout=timeout_s, check=False
        )
        return _report(done.stdout, done.stderr)

    def apply_ready(self, *objects: Manifest, timeout_s: float = 60) -> None:
        """Apply them, and return when every Pod and Deployment among them is Ready."""
        self.apply(objects)
        for each in objects:
            name, namespace = each["metadata"]["name"], each["metadata"].get("namespace")
            if each["kind"] == "Pod":
                self.wait("pod", name, "condition=Ready", namespace, timeout_s=timeout_s)
            elif each["kind"] == "Deployment":
                where = [f"--namespace={namespace}", f"--timeout={timeout_s:g}s"]
                self("rollout", "status", f"deployment/{name}", *where, timeout_s=timeout_s + 10)

    def wait_reachable(self, pod: str, namespace: str, host: str, port: int, *, timeout_s: float = 20) -> None:
        """Until `host:port` accepts a connection of this pod: a Service works some time after its pods are Ready."""
        report = self.client(pod, namespace, "reach", host, str(port), f"--timeout={timeout_s}")
        if report["failed"]:
            raise ClusterError(f"{pod} cannot reach {host}:{port} within {timeout_s} s: {report['error']}")

    @contextmanager
    def client_in_background(self, pod: str, namespace: str, *verb: str) -> Iterator["BackgroundClient"]:
        """The same while the block runs; `.report()` waits for its end."""
        client = BackgroundClient(self.start(*exec_words(pod, namespace, ["testapp", *verb], "app")))
        try:
            yield client
        finally:
            client.abandon()

    # --- the node

    @property
    def bridge(self) -> str:
        """The interface that all traffic between pods passes, inside the node's network."""
        return node.BRIDGE

    @property
    def node_address(self) -> str:
        """An address outside the ranges of pods and Services: a pod with hostNetwork answers there."""
        found = self.list("nodes")[0]["status"]["addresses"]
        return str(next(entry["address"] for entry in found if entry["type"] == "InternalIP"))

    @property
    def sandbox(self) -> Sandbox:
        """The node's namespaces; ClusterError on a cluster that is not ours."""
        if self._sandbox is None:
            raise ClusterError("this needs the node itself, so a cluster that our harness started on this machine")
        return self._sandbox

    def on_node(self, *command: str) -> str:
        """Run a command of this machine inside the node's namespaces: `on_node("nft", "list", "tables")`."""
        return self.sandbox.run(command)

    def capture(self, *addresses: str) -> AbstractContextManager[Capture]:
        """Capture what passes the bridge from or to these pod addresses while the block runs."""
        return capture.capturing(self.sandbox, *addresses)


class BackgroundClient:
    """A client verb that runs in a pod meanwhile."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def report(self, timeout_s: float = 120) -> Manifest:
        """Wait until it ends by itself."""
        output, errors = self._process.communicate(timeout=timeout_s)
        return _report(output, errors)

    def next_line(self) -> Any:
        """The next line of JSON it prints: `hold` prints one for each answer, `load` none before its report."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ClusterError("the client in the pod has ended")
        return json.loads(line)

    def abandon(self) -> None:
        """Stop following it, if it still runs; the pod's end will be its end."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def _report(output: str, errors: str) -> Manifest:
    lines = output.strip().splitlines()
    try:
        return cast("Manifest", json.loads(lines[-1]))
    except (IndexError, ValueError):
        raise ClusterError(f"the client in the pod gave no report; it said: {output}{errors}") from None


def configured(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The cluster that a person wants to be used."""
    named = environment.get("HANDFAST_KUBECONFIG")
    return Path(named) if named else None
