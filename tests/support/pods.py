"""Pods as a node has them: a network namespace each on one bridge, real sidecars, and a directory in this process.

Needs root, as `make test` has it.
"""

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from handfast_bench.directory import _meshed, _OnePolicy
from handfast_bench.identities import SETTINGS, Identities, write_files
from handfast_bench.identities import Pod as Named
from handfast_bench.sidecars import _AS_A_POD
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.services import EndpointSlice, Service, ServicePort, SliceEndpoint
from handfast_operator.cluster.store import Store
from handfast_operator.directory.acceptor import listen
from handfast_operator.directory.server import DirectoryServer
from handfast_sidecar.config.document import parse_ranges
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.wellknown import DIRECTORY_PORT, ENV_POD_IPS, FILE_BUNDLE, PROXY_UID
from support.netns import inside

GATEWAY: Final = "10.77.0.254"
SERVICE: Final = "10.96.0.1"
"""Its port 80 is port 8080 of every pod that serves."""
READY: Final = '"message":"connected to the directory"'
OURS: Final = (sys.executable, "-m", "handfast_sidecar")


class Running:
    """A pod whose sidecar runs."""

    def __init__(self, node: "Node", pod: Named, netns: str, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.node, self.pod, self.netns, self.log, self.process = node, pod, netns, log, process

    def signal(self, number: int) -> None:
        """To its sidecar."""
        self.process.send_signal(number)

    async def said(self, text: str, times: int = 1) -> None:
        """Until its sidecar has written this, so many times."""
        async with asyncio.timeout(30):
            while self.log.read_text().count(text) < times:
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.01)

    async def ended(self) -> int:
        """The exit code of its sidecar."""
        return await asyncio.to_thread(self.process.wait)

    def lines(self) -> list[dict[str, Any]]:
        """What its sidecar has written."""
        return [json.loads(each) for each in self.log.read_text().splitlines() if each.startswith("{")]

    def connections(self) -> list[dict[str, Any]]:
        """The access log: connections that are over."""
        return [each for each in self.lines() if each.get("logger") == "handfast.access"]

    def listening(self) -> socket.socket:
        """Its application's."""
        return inside(self.netns, lambda: socket.create_server((self.pod.ip, 8080)))

    def dialling(self) -> socket.socket:
        """A socket of an application, not connected."""
        sock = inside(self.netns, socket.socket)
        sock.setblocking(False)
        return sock


class Node:
    """One node, and what the API server would show of it."""

    directory: DirectoryServer

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._mark = secrets.token_hex(3)
        self.identities = Identities()
        self._pods, self._services, self._slices = Store[Pod](), Store[Service](), Store[EndpointSlice]()
        self._version = 1
        self._made = 0

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path) -> AsyncIterator["Node"]:
        """With its bridge and its directory; all of it ends with the block."""
        async with AsyncExitStack() as stack:
            node = cls(folder, stack)
            bridge = node._namespace("node")
            for words in ("link add br0 type bridge", f"addr add {GATEWAY}/24 dev br0", "link set br0 up"):
                _ip("-n", bridge, *words.split())
            serving = folder / "serving"
            write_files(serving, node.identities.files(SETTINGS.directory_id, "handfast-directory"))
            settings = replace(SETTINGS, tls_dir=serving, cluster_ranges=parse_ranges(("10.77.0.0/24", "10.96.0.0/24")))
            stores = (node._pods, node._services, node._slices)
            node.directory = directory = DirectoryServer(settings, *stores, _OnePolicy(), registry=Registry())
            directory.certificate.look()
            listener = inside(bridge, lambda: listen(GATEWAY, DIRECTORY_PORT))
            serve = asyncio.create_task(directory.serve(listener, drain_s=0))
            stack.push_async_callback(_cancelled, serve)
            node._services.put(Service("bench", "orders", 1, (SERVICE,), (ServicePort("http", 80),)))
            yield node

    def write(self, pod: Running, **more: Any) -> None:
        """A new Secret, with what `Identities.write_pod` takes."""
        self.identities.write_pod(pod.pod, self._folder / pod.pod.name, directory_host=GATEWAY, **more)

    def trust(self, *roots: Identities) -> None:
        """The directory has a new leaf of the last of these roots, and trusts them all."""
        files = roots[-1].files(SETTINGS.directory_id, "handfast-directory")
        write_files(self._folder / "serving", files | {FILE_BUNDLE: bundle(*roots)})
        self.directory.certificate.look()

    def issuers(self, pod: Running) -> tuple[str, ...]:
        """Of all leaves that its sidecar needs, as it last said."""
        report = self.directory.evidence.view().pods.get(pod.pod.uid)
        return report.issuers if report is not None else ()

    async def start(self, name: str, program: Sequence[str] = OURS) -> Running:
        """A pod, when its sidecar knows the directory; `program` runs the sidecar's verbs."""
        self._made += 1
        ip = f"10.77.0.{self._made}"
        pod = Named(name, ip, f"{self._made:08d}-0000-0000-0000-000000000001", account=name.rstrip("0123456789"))
        netns, folder, log = self._namespace(name), self._folder / name, self._folder / f"{name}.log"
        _ip("-n", self._name("node"), "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", netns)
        _ip("-n", self._name("node"), "link", "set", name, "master", "br0", "up")
        for words in (f"addr add {ip}/24 dev eth0", "link set eth0 up", f"route add default via {GATEWAY}"):
            _ip("-n", netns, *words.split())
        self._pods.put(replace(_meshed(pod), resource_version=self._next(), service_account=pod.account))
        self.identities.write_pod(pod, folder, directory_host=GATEWAY)
        process = _sidecar(program, netns, folder, log, ip)
        self._stack.callback(_killed, process)
        running = Running(self, pod, netns, log, process)
        await running.said(READY)
        return running

    def serve(self, *pods: Running) -> None:
        """These are the Service's endpoints from now on."""
        ends = tuple(SliceEndpoint(each.pod.ip, True, each.pod.uid) for each in pods)
        self._slices.put(EndpointSlice("bench", "orders-1", self._next(), "orders", (ServicePort("http", 8080),), ends))

    def _next(self) -> int:
        self._version += 1
        return self._version

    def _name(self, name: str) -> str:
        return f"hf-{self._mark}-{name}"

    def _namespace(self, name: str) -> str:
        made = self._name(name)
        _ip("netns", "add", made)
        self._stack.callback(_ip, "netns", "del", made)
        _ip("-n", made, "link", "set", "lo", "up")
        return made


def bundle(*roots: Identities) -> bytes:
    """What one who trusts all of them has in its bundle."""
    return b"".join(each.bundle_pem for each in roots)


def _sidecar(program: Sequence[str], netns: str, identity: Path, log: Path, ip: str) -> subprocess.Popen[bytes]:
    """The rules, and the proxy under its own user, with its files where kubelet puts them."""
    run = ["ip", "netns", "exec", netns]
    subprocess.run([*run, *program, "init"], check=True, timeout=30)
    script = _AS_A_POD.format(uid=PROXY_UID, identity=identity, program=" ".join(program))
    with log.open("wb") as output:
        return subprocess.Popen(
            [*run, "unshare", "--mount", "--propagation=private", "sh", "-c", script],
            stdout=output,
            stderr=output,
            env={**os.environ, ENV_POD_IPS: ip},
        )


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, (words, done.stderr)


def _killed(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait((task,))
