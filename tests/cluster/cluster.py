"""The cluster as tests see it, whether we started it or were pointed at it."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from cluster.kube.client import Kubectl, exec_words
from cluster.kube.errors import ClusterError
from cluster.kube.manifests import Manifest
from cluster.kube.workloads import Workloads
from cluster.release import Release
from handfast_lab.network.capture import Capture, capturing


class Node(Protocol):
    """The one machine of a cluster that we started ourselves."""

    bridge: str
    """The interface that all traffic between pods passes."""

    @property
    def network(self) -> Path:
        """Its network namespace: what setns(2) takes."""
        ...

    def run(self, command: Sequence[str | Path], *, stdin: str | None = None, timeout_s: float = 120) -> str:
        """Run a command of this machine inside; its output."""
        ...


class Cluster(Kubectl):
    """Everything `Kubectl` does, with Handfast, the test applications, and the wire when the node is ours."""

    def __init__(self, kubeconfig: Path, apps: str, node: Node | None) -> None:
        """`apps`: the image of the test applications."""
        super().__init__(kubeconfig)
        self.workloads = Workloads(apps)
        self._node = node

    def release(self) -> Release:
        """How Handfast is installed here."""
        raise NotImplementedError

    def component_logs(self) -> Path | None:
        """A folder with the logs of the cluster's own parts, where they are ours to read."""
        return None

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
        words = ("reach", host, str(port), f"--timeout={timeout_s}")
        report = self.client(pod, namespace, *words, timeout_s=timeout_s + 40)
        if report["failed"]:
            raise ClusterError(f"{pod} cannot reach {host}:{port} within {timeout_s} s: {report['error']}")

    @contextmanager
    def client_in_background(self, pod: str, namespace: str, *verb: str) -> Iterator["BackgroundClient"]:
        """The same while the block runs; `.report()` waits for its end, `.finish()` ends a load with `--until-eof`."""
        client = BackgroundClient(self.start(*exec_words(pod, namespace, ["testapp", *verb], "app", stdin=True)))
        try:
            yield client
        finally:
            client.abandon()

    # --- the node

    @property
    def node_address(self) -> str:
        """An address outside the ranges of pods and Services: a pod with hostNetwork answers there."""
        found = self.list("nodes")[0]["status"]["addresses"]
        return str(next(entry["address"] for entry in found if entry["type"] == "InternalIP"))

    @property
    def node(self) -> Node:
        """The node itself; ClusterError on a cluster that is not ours."""
        if self._node is None:
            raise ClusterError("this needs the node itself, so a cluster that our harness started on this machine")
        return self._node

    def on_node(self, *command: str) -> str:
        """Run a command of this machine inside the node's namespaces: `on_node("nft", "list", "tables")`."""
        return self.node.run(command)

    def capture(self, *addresses: str) -> AbstractContextManager[Capture]:
        """Capture what passes the bridge from or to these pod addresses while the block runs."""
        return capturing(self.node.network, self.node.bridge, *addresses)


class BackgroundClient:
    """A client verb that runs in a pod meanwhile."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def report(self, timeout_s: float = 120) -> Manifest:
        """Wait until it ends by itself."""
        output, errors = self._process.communicate(timeout=timeout_s)
        return _report(output, errors)

    def finish(self) -> Manifest:
        """End its standard input, and wait for its report."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.stdin = None  # or communicate() would flush it
        return self.report()

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
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def _report(output: str, errors: str) -> Manifest:
    lines = output.strip().splitlines()
    try:
        return cast("Manifest", json.loads(lines[-1]))
    except (IndexError, ValueError):
        raise ClusterError(f"the client in the pod gave no report; it said: {output}{errors}") from None
