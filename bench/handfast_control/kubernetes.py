"""etcd and kube-apiserver, and nothing else of a cluster, in the network namespace that we are in.

The binaries are those that `make cluster-up` or `make test-cluster` has built and keeps in the cache; without them
there is nothing to start, and the caller says so. A quick run has the lab's API server.
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from cluster.kube import pki, versions
from cluster.kube.places import cache
from handfast_bench.namespaces import BenchFailed
from handfast_control.children import program, python
from handfast_operator.cluster.access import read_kubeconfig
from handfast_operator.cluster.client import ApiClient, ApiError

URL: Final = "https://127.0.0.1:6443"
ETCD: Final = "http://127.0.0.1:2379"
READY_S: Final = 90.0
VERSION: Final = f"Kubernetes {versions.KUBERNETES}, etcd {versions.ETCD}"


@dataclass(frozen=True, slots=True)
class Server:
    """What a section of the bench asks."""

    kubeconfig: Path
    """Of its administrator, who is exempt from the server's priority and fairness."""
    authority: bytes
    """Its certificate authority, PEM; empty: it is the lab's, which knows no service accounts."""
    pids: tuple[int, ...]
    """etcd's and the API server's."""

    @property
    def name(self) -> str:
        """For a table's title."""
        return VERSION if self.authority else "the lab's API server"


def binaries() -> Path | None:
    """Where they are; None: they were not built yet."""
    folder = cache() / versions.cache_key() / "bin"
    return folder if (folder / "kube-apiserver").exists() else None


@asynccontextmanager
async def api_server(plan: str, folder: Path) -> AsyncIterator[Server]:
    """The real one for the plan `full` where it is built, else the lab's, until the block ends. Raises BenchFailed."""
    task = asyncio.current_task()
    if task is not None:  # it must not outlive who started it
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    built = binaries() if plan == "full" else None
    if built is not None:
        async with control_plane(built, folder) as server:
            yield server
        return
    kubeconfig = folder / "kubeconfig"
    async with python("apiserver", folder, "handfast_control.apiserver", kubeconfig) as process:
        yield Server(kubeconfig, b"", (process.pid,))


@asynccontextmanager
async def control_plane(built: Path, folder: Path) -> AsyncIterator[Server]:
    """Until the block ends. Raises BenchFailed when it does not become ready."""
    authority = pki.Authority()
    leaf = authority.issue("kube-apiserver", hosts=("127.0.0.1", "kubernetes.default.svc"))
    admin = authority.issue("admin", group="system:masters")
    files = {
        "ca.crt": authority.credential.certificate,
        "tls.crt": leaf.certificate,
        "tls.key": leaf.key,
        "accounts.key": pki.service_account_key(),
        "admin.conf": json.dumps(authority.kubeconfig(URL, admin)).encode(),
    }
    for name, content in files.items():
        write_private(folder / name, content)
    async with AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(program("etcd", folder, _etcd(built, folder)))
        server = await stack.enter_async_context(program("kube-apiserver", folder, _apiserver(built, folder)))
        await _ready(folder / "admin.conf", (etcd, server), folder)
        yield Server(folder / "admin.conf", authority.credential.certificate, (etcd.pid, server.pid))


def write_private(path: Path, content: bytes) -> None:
    """For its owner alone."""
    path.touch(mode=0o600)
    path.write_bytes(content)


def _etcd(built: Path, folder: Path) -> list[str]:
    """Without fsync: a disk's speed is not what is measured."""
    return [
        str(built / "etcd"),
        f"--data-dir={folder / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=default=http://127.0.0.1:2380",
        "--log-level=warn",
    ]


def _apiserver(built: Path, folder: Path) -> list[str]:
    """As the cluster of the tests has it, priority and fairness included."""
    return [
        str(built / "kube-apiserver"),
        f"--etcd-servers={ETCD}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        "--secure-port=6443",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--client-ca-file={folder / 'ca.crt'}",
        f"--tls-cert-file={folder / 'tls.crt'}",
        f"--tls-private-key-file={folder / 'tls.key'}",
        f"--service-account-key-file={folder / 'accounts.key'}",
        f"--service-account-signing-key-file={folder / 'accounts.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
    ]


async def _ready(kubeconfig: Path, parts: tuple[asyncio.subprocess.Process, ...], folder: Path) -> None:
    deadline, problem = time.monotonic() + READY_S, "no answer"
    async with ApiClient.connect(read_kubeconfig(kubeconfig)) as client:
        while time.monotonic() < deadline and all(each.returncode is None for each in parts):
            try:
                await client.get("/readyz")
                return
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                problem = str(error)
            await asyncio.sleep(0.1)
    raise BenchFailed(f"kube-apiserver is not ready ({problem}): its logs are in {folder}")
