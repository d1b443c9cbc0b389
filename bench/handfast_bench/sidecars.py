"""Two sidecars as pods have them: the real init verb, the real proxy under its own user, files where kubelet puts them.

Nothing is switched off: policy, access log, metrics and the directory's evidence run while it is measured.
"""

import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from handfast_bench.identities import SETTINGS, Identities, Pod, write_files
from handfast_bench.namespaces import CLIENT, CLIENT_IP, CONTROL, SERVER, SERVER_IP, BenchFailed, Namespaces
from handfast_bench.scrape import Scrape
from handfast_sidecar.wellknown import ADMIN_PORT, ENV_POD_IPS, PROXY_UID

START_S: Final = 20.0
PODS: Final = {
    CLIENT: Pod("client", CLIENT_IP, "11111111-0000-0000-0000-000000000001"),
    SERVER: Pod("server", SERVER_IP, "22222222-0000-0000-0000-000000000002"),
}
_AS_A_POD: Final = """
set -e
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/handfast/cache
chown {uid} /run/handfast/cache
mkdir /run/handfast/identity
mount --bind {identity} /run/handfast/identity
exec setpriv --reuid={uid} --regid={uid} --clear-groups --inh-caps=-all,+dac_read_search \\
  --ambient-caps=-all,+dac_read_search --bounding-set=-all,+dac_read_search {program} proxy
"""
"""The one capability lets it read an interpreter that lives in somebody's home directory; an image needs none."""
_FETCH: Final = (
    "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode())"
)


@dataclass
class Sidecars:
    """A running pair."""

    spaces: Namespaces
    identities: Identities
    folder: Path
    processes: Mapping[str, subprocess.Popen[bytes]]
    pods: Mapping[str, Pod]

    @property
    def pids(self) -> list[int]:
        """Client's and server's."""
        return [self.processes[CLIENT].pid, self.processes[SERVER].pid]

    def renew(self, where: str) -> None:
        """A new leaf arrives in one side's Secret."""
        self.identities.write_pod(self.pods[where], self.folder / where)

    def admin(self, where: str, path: str, *, host: str = "", timeout_s: float = 2) -> str:
        """What a sidecar's admin port answers, at its pod's address or another one. Raises BenchFailed."""
        url = f"http://{host or self.pods[where].ip}:{ADMIN_PORT}{path}"
        return self.spaces.run(where, [sys.executable, "-S", "-c", _FETCH, url, str(timeout_s)])

    def scrape(self, where: str, *, timeout_s: float = 2) -> Scrape:
        """A sidecar's metrics at this moment. Raises BenchFailed."""
        return Scrape.parse(self.admin(where, "/metrics", timeout_s=timeout_s))

    def metric(self, where: str, name: str, **labels: str) -> int:
        """The sum of a sidecar's samples that have these labels."""
        return self.scrape(where).total(name, **labels)

    def log(self, where: str) -> Path:
        """Where it writes its lines: events and the access log."""
        return self.folder / f"{where}.log"


@contextmanager
def sidecars(
    spaces: Namespaces,
    folder: Path,
    *,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
    pods: Mapping[str, Pod] = PODS,
) -> Iterator[Sidecars]:
    """Start directory and pair, ready for traffic; they end with the block. Raises BenchFailed."""
    identities = Identities()
    directory = _directory(spaces, folder, identities, pods.values())
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for where, pod in pods.items():
            identities.write_pod(pod, folder / where)
            spaces.run(where, [python, "-m", "handfast_sidecar", "init"])
            script = _AS_A_POD.format(uid=PROXY_UID, identity=folder / where, program=f"{python} -m handfast_sidecar")
            processes[where] = spaces.start(
                where,
                ["unshare", "--mount", "--propagation=private", "sh", "-c", script],
                log=folder / f"{where}.log",
                environment={ENV_POD_IPS: ",".join(pod.ips), **(environment or {})},
            )
        pair = Sidecars(spaces, identities, folder, processes, pods)
        for where in pods:
            _wait_ready(pair, where)
        yield pair
    finally:
        for process in (*processes.values(), directory):
            spaces.stop(process)


def _directory(
    spaces: Namespaces, folder: Path, identities: Identities, pods: Iterable[Pod]
) -> subprocess.Popen[bytes]:
    serving = folder / "directory"
    write_files(serving, identities.files(SETTINGS.directory_id, "handfast-directory"))
    words = [word for pod in pods for word in (pod.name, ",".join(pod.ips), pod.uid)]
    return spaces.start(
        CONTROL,
        [sys.executable, "-m", "handfast_bench.directory", serving, *words],
        log=folder / "directory.log",
        environment={"PYTHONPATH": str(Path(__file__).parents[1])},
    )


def _wait_ready(pair: Sidecars, where: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            pair.admin(where, "/readyz")
            if pair.metric(where, "handfast_directory_connected"):
                return
        except (BenchFailed, urllib.error.URLError, OSError) as error:
            if pair.processes[where].poll() is not None:
                raise BenchFailed(f"the {where}'s sidecar ended: see {pair.log(where)}") from error
        if time.monotonic() > deadline:
            raise BenchFailed(f"the {where}'s sidecar was not ready in {START_S:.0f} s: see {pair.log(where)}")
        time.sleep(0.1)
