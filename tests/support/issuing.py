"""The issuer with an API server in memory and a clock that is turned by hand."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.root import make_root
from handfast_operator.authority.state import AuthorityState
from handfast_operator.cluster.objects import Namespace, Pod, SecretMeta, parse_secret_meta
from handfast_operator.cluster.services import Service  # noqa: TC001
from handfast_operator.cluster.store import Store
from handfast_operator.controller.config import ConfigSource
from handfast_operator.controller.issuer import Issuer
from handfast_operator.controller.revoked import RevokedNow
from handfast_operator.controller.timing import Pace
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy, PolicySpec
from handfast_operator.resources.trust_domain import TrustDomain
from handfast_sidecar.identity.material import Material, parse_material
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.policy.effective import Mode
from support.memory_api import MemoryApi
from support.objects import pod
from support.revocations import trust_domain
from support.virtual_time import START, VirtualTime

SECRETS = "/api/v1/namespaces/shop/secrets"
ORDERS = pod("shop", "orders", uid="uid-1", service_account="orders")
PATH = f"{SECRETS}/{ORDERS.secret}"
NOTHING = timedelta(0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def authority(number: int, state: AuthorityState = AuthorityState.ACTIVE, made: datetime = START) -> Authority:
    root = make_root("cluster.local", made)
    return Authority(f"handfast-authority-{number}", "cluster.local", state, root.certificate, root.key)


class World:
    """A cluster whose watches tell everything at once, until they are held back."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.time = VirtualTime()
        self.pods: Store[Pod] = Store()
        self.secrets: Store[SecretMeta] = Store()
        self.namespaces: Store[Namespace] = Store()
        self.policies: Store[MtlsPolicy] = Store()
        self.cluster_policies: Store[ClusterMtlsPolicy] = Store()
        self.services: Store[Service] = Store()
        self.index = PolicyIndex(self.pods, self.namespaces, self.policies, self.cluster_policies, "cluster.local")
        self.authorities = AuthoritySet("cluster.local", (authority(1),))
        self.trust_domains = Store[TrustDomain]()
        self.revoked = RevokedNow("cluster.local", self.trust_domains, self.time)
        self.events: list[tuple[str, str, str]] = []
        self.held_back: list[Callable[[], None]] | None = None
        self.api.watchers.append(self._watch)

    @asynccontextmanager
    async def issuer(self, **pace: Any) -> AsyncIterator[Issuer]:
        """A controller's life."""
        self.registry = Registry()
        ranges = (ip_network("10.0.0.0/8"),)
        issuer = Issuer(
            self.api,
            self.pods,
            self.secrets,
            self.index,
            ConfigSource(
                "cluster.local",
                "handfast-system",
                self.index,
                self.services,
                lambda: ranges,
                lambda: self.revoked.current,
            ),
            self.authorities,
            event=lambda pod, _kind, reason, message: self.events.append((pod.name, reason, message)),
            registry=self.registry,
            time=self.time,
            pace=Pace(**pace) if pace else None,
        )
        self.revoked.subscribe(issuer.revocations_changed)
        running = asyncio.ensure_future(issuer.run())
        await self.time.advance(NOTHING)
        try:
            yield issuer
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _watch(self, path: str, raw: dict[str, Any] | None, version: int) -> None:
        namespace, name = path.split("/")[4], path.split("/")[6]
        meta = parse_secret_meta(raw) if raw is not None else None
        if meta is not None and meta.labels.get("handfast.dev/identity") != "true":
            meta = None

        def tell() -> None:
            if meta is not None:
                self.secrets.put(meta)
            else:
                self.secrets.remove((namespace, name), version)

        (self.held_back.append if self.held_back is not None else lambda now: now())(tell)

    def release(self) -> None:
        """The watch catches up."""
        for tell in self.held_back or ():
            tell()
        self.held_back = None

    async def settle(self, passed: timedelta = NOTHING) -> None:
        await self.time.advance(passed)

    def material(self, path: str = PATH) -> Material:
        """The Secret as a sidecar reads it."""
        data = self.api.objects[path]["data"]
        files = (base64.b64decode(data[name]) for name in ("tls.crt", "tls.key", "ca.crt", "config.json"))
        return parse_material(*files)

    def damage(self, files: Mapping[str, bytes | None], path: str = PATH) -> None:
        """Somebody edits the data; None removes a file."""
        raw = self.api.objects[path]
        data = {name: value for name, value in raw["data"].items() if name not in files}
        data |= {name: base64.b64encode(value).decode() for name, value in files.items() if value is not None}
        self.api.put(path, {**raw, "data": data})

    def apply(self, mode: Mode, version: int, **spec: Any) -> None:
        self.policies.put(
            MtlsPolicy("shop", "p", "uid-p", version, version, "2026-01-01T00:00:00Z", None, PolicySpec(mode, **spec))
        )

    def revoke(self, *entries: dict[str, str]) -> None:
        self.trust_domains.put(trust_domain("cluster.local", *entries))

    def metric(self, name: str) -> str:
        return next(line for line in self.registry.render().splitlines() if line.startswith(name)).split()[-1]
