"""The programs of a cluster: started inside the sandbox, watched until they are ready, each with its own log."""

import logging
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.kube.commands import run
from cluster.kube.errors import ClusterError, PartDied
from cluster.kube.places import INSIDE, OUTSIDE, STATE
from cluster.kube.sandbox import Sandbox

log = logging.getLogger(__name__)

READY_S = 120
"""How long a part may take to become ready: ten times what it takes on two idle cores."""

INSIDE_PATH = f"{INSIDE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Parts:
    """Starts programs in one sandbox and knows which have ended."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str]) -> None:
        """Run a binary of INSIDE/bin until the sandbox ends; its output goes to `logs/<name>.log`."""
        with self.log_of(name).open("ab") as output:
            started = subprocess.Popen(
                self.sandbox.enter(
                    ["env", "-i", f"PATH={INSIDE_PATH}", "HOME=/root", f"{INSIDE}/bin/{command[0]}", *command[1:]]
                ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started[name] = started
        self.sandbox.children.append(started)

    def wait(self, what: str, is_ready: Callable[[], object]) -> None:
        """Return when `is_ready` gives something true; its ClusterError means "not yet"."""
        deadline = time.monotonic() + READY_S
        while True:
            self._raise_for_dead()
            try:
                if is_ready():
                    return
                said = "not ready"
            except ClusterError as error:
                said = str(error)
            if time.monotonic() > deadline:
                raise PartDied(f"waited {READY_S} s for {what}; logs are in {STATE / 'logs'}; last answer: {said}")
            time.sleep(0.1)

    def log_of(self, name: str) -> Path:
        """Where that part's output is."""
        return STATE / "logs" / f"{name}.log"

    def _raise_for_dead(self) -> None:
        for name, process in self._started.items():
            if process.poll() is not None:
                tail = self.log_of(name).read_text(errors="replace")[-2000:]
                raise PartDied(f"{name} ended with {process.returncode}; its log {self.log_of(name)} ends:\n{tail}")


def write_inside(name: str, content: str | bytes) -> str:
    """Put a file where the cluster's programs find it, for root alone; the path they know it by."""
    place = OUTSIDE / "etc" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch(mode=0o600)
    place.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(INSIDE / "etc" / name)


def kubectl_raw(binaries: Path, kubeconfig: Path, *words: str) -> str:
    """One short kubectl call, for asking whether something is ready."""
    return run([binaries / "kubectl", f"--kubeconfig={kubeconfig}", *words], timeout_s=20)
