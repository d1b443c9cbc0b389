"""A trust domain whose root is replaced: the driver of it on an API server in memory, and one sidecar that follows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from handfast_operator.authority.authority import AuthoritySet
from handfast_operator.authority.gates import Witness
from handfast_operator.authority.steps import Offer
from handfast_operator.authority.storage import AuthorityStorage
from handfast_operator.cluster.kinds import CONFIG_MAPS, SECRETS, TRUST_DOMAINS
from handfast_operator.controller.rotation import Rotation, Sources
from handfast_operator.controller.rotation_news import RotationNews
from handfast_operator.controller.status import Target
from handfast_operator.controller.trust_domain import OwnTrustDomain
from handfast_operator.controller.trust_domain_status import TrustDomainStatus
from handfast_sidecar.observe.metrics import Registry
from support.memory_api import Json, MemoryApi
from support.virtual_time import VirtualTime

OURS = TRUST_DOMAINS.item("", "cluster.local")
NAME = "handfast-authority-"
BUNDLE = CONFIG_MAPS.item("handfast-system", "handfast-bundle")
SECOND = timedelta(seconds=1)


class Died(BaseException):
    """The process is gone."""


class DyingApi(MemoryApi):
    """Does so many writes, and then its caller is gone: before it hears of the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.writes_left: int | None = None

    def _answer(self, raw: Json) -> Json:
        self._count()
        return super()._answer(raw)

    async def delete(self, path: str, *, uid: str = "") -> None:
        await super().delete(path, uid=uid)
        self._count()

    def _count(self) -> None:
        if self.writes_left is not None:
            self.writes_left -= 1
            if self.writes_left == 0:
                self.writes_left = None
                raise Died


class World:
    """A trust domain; its one sidecar follows whatever it is told, until it is told to stay behind."""

    def __init__(self) -> None:
        self.api, self.time, self.registry = DyingApi(), VirtualTime(), Registry()
        self.events: list[tuple[str, str]] = []
        self.told = [AuthoritySet("cluster.local", ())]
        self.trusts: AuthoritySet | None = None
        self.presents: AuthoritySet | None = None
        self.stays = False
        self.offers(None)
        self.restart()

    def restart(self) -> None:
        """A controller that knows nothing."""
        self.domain = OwnTrustDomain(self.api, "cluster.local")
        storage = AuthorityStorage(self.api, "handfast-system", "cluster.local", self._warn)
        news = RotationNews(lambda _kind, reason, note: self.events.append((reason, note)), self.registry)
        sources = Sources(self.witnesses, lambda: timedelta(hours=24), offer=lambda: self.offer)
        self.rotation = Rotation(storage, self.domain, sources, news, self.time)
        self.rotation.subscribe(self._tell)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.rotation.begin()
        task = asyncio.ensure_future(self.rotation.run())
        await self.time.advance(SECOND)
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _tell(self, authorities: AuthoritySet) -> None:
        """Whoever is told to trust or to sign acts on it, so a restart must find the same."""
        assert self.published() == authorities.bundle_pem.decode()
        self.told.append(authorities)

    def offers(self, offer: Offer | None) -> None:
        """What the external issuer has; None: there is none, the operator makes its roots itself."""
        self.offer = offer

    def published(self) -> str:
        return str(self.api.objects[BUNDLE]["data"]["cluster.local.pem"])

    def witnesses(self) -> list[Witness]:
        """Reports come each second, of what was told before."""
        if not self.told[-1].authorities:
            return []
        if not self.stays or self.trusts is None or self.presents is None:
            self.trusts = self.presents = self.told[-1]
        return [
            Witness("shop/cart", self.time.now(), self.trusts.fingerprint, (self.presents.active.key_id,)),
        ]

    def _warn(self, reason: str, sentence: str) -> None:
        self.events.append((reason, sentence))

    async def rests(self) -> None:
        """Look, report and look again, until nothing is left to be done."""
        for _ in range(40):
            await self.rotation.look()
            await self.time.advance(SECOND)

    async def ask(self, **rotation: Any) -> None:
        """As a person does with kubectl, and the watch tells."""
        raw = await self.api.get(OURS)
        generation = raw["metadata"].get("generation", 1) + 1
        spec = {"issuer": {"selfSigned": {}}, "rotation": rotation}
        self.api.put(OURS, {"metadata": raw["metadata"] | {"generation": generation}, "spec": spec})
        self.domain.see(Target(TRUST_DOMAINS, "", "cluster.local"), self.api.objects[OURS])

    async def passes(self, seconds: float) -> None:
        """Time, in which evidence arrives every second."""
        for _ in range(round(seconds)):
            self.rotation.wake()
            await self.time.advance(SECOND)

    def states(self) -> dict[str, str]:
        secrets = SECRETS.within("handfast-system")
        return {
            path.rpartition("-")[2]: raw["metadata"]["annotations"]["handfast.dev/state"]
            for path, raw in self.api.objects.items()
            if path.startswith(f"{secrets}/{NAME}")
        }

    def status(self) -> dict[str, Any]:
        return TrustDomainStatus(lambda: self.rotation.standing, self.time.now).compute(self.api.objects[OURS])

    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.events]
