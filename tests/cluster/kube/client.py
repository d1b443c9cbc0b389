"""kubectl and Helm against one cluster, as a test says it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from cluster.kube import versions
from cluster.kube.commands import run
from cluster.kube.errors import MachineUnfit
from cluster.kube.manifests import Manifest, to_text
from cluster.kube.places import cache

WAIT_S = 60


class Kubectl:
    """Calls to the API server through kubectl; a refused call raises ClusterError with the server's own words."""

    def __init__(self, kubeconfig: Path, binaries: Path | None = None) -> None:
        """`binaries`: where kubectl and helm are; None: our build of them when there is one, else PATH."""
        self.kubeconfig = kubeconfig
        ours = cache() / versions.cache_key() / "bin"
        self._binaries = binaries or (ours if ours.is_dir() else None)

    def __call__(self, *words: str, stdin: str | None = None, timeout_s: float = 90) -> str:
        """`kubectl WORDS...`: its standard output."""
        return run(self.command("kubectl", *words), stdin=stdin, timeout_s=timeout_s)

    def helm(self, *words: str, timeout_s: float = 300) -> str:
        """`helm WORDS...`: its standard output."""
        return run(self.command("helm", *words), timeout_s=timeout_s)

    def command(self, tool: str, *words: str) -> list[str]:
        """The full command line, for a caller who runs it himself."""
        place = str(self._binaries / tool) if self._binaries else shutil.which(tool)
        if place is None:
            raise MachineUnfit(f"{tool} is not in PATH, and `make cluster-up` has built none here")
        return [place, f"--kubeconfig={self.kubeconfig}", *words]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """kubectl in the background, with pipes; the caller ends it."""
        return subprocess.Popen(
            self.command("kubectl", *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"KUBECTL_PORT_FORWARD_WEBSOCKETS": "true"},
        )

    def apply(self, objects: str | Manifest | Iterable[Manifest], *options: str) -> str:
        """Create or change objects given as YAML text, or as one or many dictionaries."""
        text = objects if isinstance(objects, str) else to_text(objects)
        return self("apply", "-f", "-", *options, stdin=text)

    def delete(self, kind: str, name: str, namespace: str | None = None, *, wait: bool = True) -> None:
        """Gone, or on its way when `wait` is false; no error when it was never there."""
        self("delete", kind, name, "--ignore-not-found", f"--wait={str(wait).lower()}", *_in(namespace))

    def get(self, kind: str, name: str, namespace: str | None = None) -> Manifest:
        """One object; ClusterError when there is none."""
        return cast("Manifest", json.loads(self("get", kind, name, "-o", "json", *_in(namespace))))

    def list(self, kind: str, namespace: str | None = None, *, selector: str = "") -> list[Manifest]:
        """All objects of a kind, in one namespace or (None) in all."""
        where = _in(namespace) or ["--all-namespaces"]
        found: dict[str, Any] = json.loads(self("get", kind, "-o", "json", f"--selector={selector}", *where))
        return cast("list[Manifest]", found["items"])

    def wait(
        self, kind: str, name: str, condition: str, namespace: str | None = None, *, timeout_s: float = WAIT_S
    ) -> None:
        """Until `condition` holds: what `kubectl wait --for` takes (`condition=Ready`, `delete`, `create`, ...)."""
        words = ["wait", f"{kind}/{name}", f"--for={condition}", f"--timeout={timeout_s:g}s", *_in(namespace)]
        self(*words, timeout_s=timeout_s + 10)

    def logs(self, pod: str, namespace: str, *, container: str | None = None, previous: bool = False) -> str:
        """What a container has printed; `pod` may also be `deployment/name`."""
        chosen = [f"--container={container}"] if container else []
        return self("logs", pod, *chosen, *(["--previous"] if previous else []), *_in(namespace))

    def exec(
        self,
        pod: str,
        namespace: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        timeout_s: float = 60,
    ) -> str:
        """Run a command in a pod and give its output; ClusterError when it fails."""
        return self(*exec_words(pod, namespace, command, container), timeout_s=timeout_s)

    def address_of(self, pod: str, namespace: str) -> str:
        """The pod's IP."""
        return str(self.get("pod", pod, namespace)["status"]["podIP"])


def exec_words(
    pod: str, namespace: str, command: Sequence[str], container: str | None = None, *, stdin: bool = False
) -> list[str]:
    """kubectl's words for a command in a pod."""
    chosen = [f"--container={container}"] if container else []
    return ["exec", pod, *(["--stdin"] if stdin else []), *chosen, *_in(namespace), "--", *command]


def _in(namespace: str | None) -> list[str]:
    return [f"--namespace={namespace}"] if namespace else []
