"""A real directory server on loopback and real sidecars' clients of it, on stores filled by hand."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller.revoked import RevokedNow
from handfast_operator.directory.acceptor import listen
from handfast_operator.directory.server import DirectoryServer
from handfast_operator.resources.trust_domain import TrustDomain
from handfast_operator.settings import Settings
from handfast_sidecar.config.document import DirectoryAddress
from handfast_sidecar.directory.cache_file import CacheFile
from handfast_sidecar.directory.client import Directory
from handfast_sidecar.directory.messages import PolicyUpdate, Report
from handfast_sidecar.identity.reload import IdentityKeeper
from handfast_sidecar.identity.revocation import Revocations
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.observe.metrics import Registry
from support.pki import Issued, TestAuthority, plain_config, write_files
from support.stores import TRUST_DOMAIN, Cluster

HOST = "127.0.0.1"
REPORT = Report("0a1b", "2030-01-01T00:00:00Z", "aa" * 32, 1)


class Follow:
    """A reflector's sign of life."""

    fresh_at = float("inf")


@dataclass
class Lab:
    """One authority, one cluster, and the folder that everything is kept in."""

    folder: Path
    cluster: Cluster
    authority: TestAuthority = field(default_factory=lambda: TestAuthority(TRUST_DOMAIN))
    settings: Settings = field(init=False)
    registry: Registry = field(default_factory=Registry)
    follow: Follow = field(default_factory=Follow)
    port: int = 0
    trust_domains: Store[TrustDomain] = field(default_factory=Store)
    revision: int = 1
    """That the API server has come to."""
    siblings_know_more: bool = True
    """Whether another replica is ready."""

    async def current(self) -> int:
        return self.revision

    def __post_init__(self) -> None:
        self.settings = Settings(trust_domain=TRUST_DOMAIN, tls_dir=self.folder / "serving")

    @asynccontextmanager
    async def server(self, serving: Issued | None = None, host: str = HOST) -> AsyncIterator[DirectoryServer]:
        """A replica; started a second time, or on another address of loopback, it listens on the same port."""
        write_files(self.settings.tls_dir, serving or self.authority.issue(self.settings.directory_id))
        server = DirectoryServer(
            self.settings,
            self.cluster.pods,
            self.cluster.services,
            self.cluster.slices,
            self.cluster.policies,
            registry=self.registry,
            nodes=self.cluster.nodes,
            revoked=RevokedNow(TRUST_DOMAIN, self.trust_domains),
            follows=[self.follow],
            current=self.current,
            siblings_know_more=lambda: self.siblings_know_more,
        )
        server.feeds._round_s = 0.05
        server.certificate.look()
        listener = listen(host, self.port)
        self.port = listener.getsockname()[1]
        with contextlib.closing(listener):
            async with running(server.serve(listener, drain_s=0.05)):
                yield server

    def leaf_of(self, pod: Pod) -> Issued:
        return self.authority.issue(
            SpiffeId.of_service_account(TRUST_DOMAIN, pod.namespace, pod.service_account), pod_uid=pod.uid
        )

    def sidecar(self, pod: Pod, leaf: Issued | None = None) -> "Sidecar":
        return Sidecar(self, pod, leaf or self.leaf_of(pod))

    def tls_client(self, issued: Issued | None, alpn: str = "handfast-directory/1") -> ssl.SSLContext:
        """A client that is none of ours."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=self.authority.bundle_pem.decode())
        context.set_alpn_protocols([alpn])
        if issued is not None:
            context.load_cert_chain(*write_files(self.folder / "stranger", issued)[:2])
        return context

    async def refused(self, reason: str) -> None:
        """Wait until the server counted a refusal for this reason."""
        await until(lambda: count(self.registry, "handfast_directory_refused_total", reason) > 0)


class Sidecar:
    """A sidecar's directory client with its Secret in a folder."""

    def __init__(self, lab: Lab, pod: Pod, leaf: Issued) -> None:
        self.folder = lab.folder / pod.name
        directory = DirectoryAddress(HOST, lab.port, lab.settings.directory_id)
        self.config = plain_config(TRUST_DOMAIN, directory=directory)
        leaf.write(self.folder, self.config)
        self.registry = Registry()
        self.keeper = IdentityKeeper(self.folder, self.registry)
        self.keeper.load_first()
        self.policies: list[PolicyUpdate] = []
        self.revoked = list[Revocations]()
        cache = CacheFile(lab.folder, pod.uid)
        self.report = REPORT
        self.left: Report | None = None
        """What is reported after edges are forgotten; None: none are."""
        self.directory = Directory(
            self.keeper,
            lambda: self.report,
            self.policies.append,
            self.registry,
            cache=cache,
            on_revoked=self.revoked.append,
            make_room=self._make_room,
            move_s=0.1,
        )

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self.directory.run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        await cancelled(self._task)

    def _make_room(self) -> bool:
        left, self.left = self.left, None
        self.report = left or self.report
        return left is not None

    def renew(self, leaf: Issued) -> None:
        """A newer Secret arrives."""
        leaf.write(self.folder, self.config)
        self.keeper.look()

    async def ended(self, reason: str, times: int = 1) -> None:
        """Wait until a stream ended for this reason."""
        await until(lambda: count(self.registry, "handfast_directory_reconnects_total", reason) >= times)


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        await cancelled(task)


async def cancelled(task: "asyncio.Future[None]") -> None:
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.result()


def count(registry: Registry, name: str, label: str) -> float:
    return registry.counter(name, "", ("reason",)).labels(label).read()


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait for something that other tasks of this loop bring about."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the conditions are of many kinds
            await asyncio.sleep(0.005)
