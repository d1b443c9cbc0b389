"""Everything that writes, built and connected; `server` runs it while this process leads.

What one part tells another stands here and nowhere else: who hears of new authorities, of evidence, of our resources.
"""

import asyncio
import logging

from handfast_operator.authority.authority import AuthoritySet
from handfast_operator.authority.storage import AuthorityStorage
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.objects import Pod
from handfast_operator.controller.access import AccessStatuses
from handfast_operator.controller.config import ConfigSource
from handfast_operator.controller.events import EventWriter, about_pod
from handfast_operator.controller.evidence import EvidenceCollector
from handfast_operator.controller.expiring import Expiring, ExpiringSources
from handfast_operator.controller.external_issuer import ExternalIssuerSource
from handfast_operator.controller.issuer import Issuer
from handfast_operator.controller.obstacles import HostPorts, Obstacles
from handfast_operator.controller.promotion import Promotions
from handfast_operator.controller.ranges import ClusterRanges
from handfast_operator.controller.reports import Reports
from handfast_operator.controller.resources import watch_resources
from handfast_operator.controller.rotation import Rotation, Sources
from handfast_operator.controller.rotation_news import RotationNews
from handfast_operator.controller.servers import Servers
from handfast_operator.controller.serving import ServingCertificates
from handfast_operator.controller.sidecar_counts import SidecarCounts
from handfast_operator.controller.status import StatusWriter
from handfast_operator.controller.stores import Stores
from handfast_operator.controller.trust_domain import OwnTrustDomain
from handfast_operator.controller.trust_domain_status import TrustDomainStatus
from handfast_operator.controller.witnesses import sidecars
from handfast_operator.settings import Settings
from handfast_sidecar.observe import table
from handfast_sidecar.observe.metrics import Registry

log = logging.getLogger(__name__)


class Controller:
    """The parts, which know each other by what is wired here."""

    def __init__(self, client: ApiClient, settings: Settings, stores: Stores, registry: Registry) -> None:
        self._client, self._settings, self._stores, self._registry = client, settings, stores, registry
        self._events = EventWriter(client, settings.pod_name)
        self.established = False
        """Whether webhook and directory have what they serve with, and the API server knows whom to trust."""
        self._trust_domain = OwnTrustDomain(client, settings.trust_domain, settings.issuer_secret)
        self._trust_domain.subscribe(self._tell_unheeded_issuer)
        self._evidence = EvidenceCollector(stores.pods, settings, self._authorities, registry)
        self._serving = ServingCertificates(client, settings, self._authorities)
        self._servers = Servers(stores.pods, settings, self._serving, lambda: self._rotation.standing)
        storage = AuthorityStorage(client, settings.namespace, settings.trust_domain, self._warn)
        self._external = ExternalIssuerSource(
            client,
            settings.namespace,
            self._trust_domain,
            storage.load,
            stores.longest_leaf_ttl,
            self._say_of_trust_domain,
            registry,
        )
        self._rotation = Rotation(
            storage,
            self._trust_domain,
            Sources(
                lambda: sidecars(stores.pods, self._evidence.view),
                stores.longest_leaf_ttl,
                self._servers.witnesses,
                self._external.offer,
            ),
            RotationNews(self._say_of_trust_domain, registry),
        )
        self._rotation.follow(self._servers.look)
        self._ranges = ClusterRanges(client, settings.cluster_ranges, stores.addresses)

    async def run(self) -> None:
        """Write until cancelled. Raises ApiError when the first steps cannot be done."""
        await self._trust_domain.ensure()
        await self._external.look()
        await self._rotation.begin()
        await self._ranges.look()
        issuer = self._issuer()
        promotions = self._promotions()
        writer = self._writer(promotions)
        self._rotation.subscribe(issuer.authorities_changed)
        self._rotation.subscribe(self._serving.authorities_changed)
        self._rotation.follow(writer.mark_trust_domains)
        self._external.changed = self._rotation.wake
        self._evidence.subscribe(self._rotation.wake)
        self._servers.subscribe(self._rotation.wake)
        self._serving.changed = writer.mark_trust_domains
        reports, obstacles, expiring = self._reports(), self._obstacles(), self._expiring(issuer)
        HostPorts(self._stores.pods, self._stores.index, self._events.say)
        await self._serving.ensure()
        self.established = True
        async with asyncio.TaskGroup() as group:
            for work in (
                issuer.run(),
                self._serving.run(),
                self._servers.run(),
                self._rotation.run(),
                self._external.run(),
                self._events.run(),
                writer.run(),
                writer.look_again(),
                watch_resources(writer, self._trust_domain),
                promotions.run(),
                self._ranges.run(),
                reports.run(),
                obstacles.run(),
                self._evidence.run(),
                expiring.run(),
                self._sidecar_counts().run(),
            ):
                group.create_task(work)

    # --- the parts

    def _issuer(self) -> Issuer:
        settings, stores, ranges = self._settings, self._stores, self._ranges
        config = ConfigSource(
            settings.trust_domain,
            settings.namespace,
            stores.index,
            stores.services,
            lambda: ranges.known,
            lambda: stores.revoked.current,
        )
        ranges.changed = config.changed
        table.REVOCATIONS.of(self._registry).set_function(lambda: len(stores.revoked.current.entries))
        issuer = Issuer(
            self._client,
            stores.pods,
            stores.secrets,
            stores.index,
            config,
            self._authorities(),
            event=self._pod_event,
            registry=self._registry,
        )
        stores.revoked.subscribe(issuer.revocations_changed)
        return issuer

    def _promotions(self) -> Promotions:
        stores = self._stores
        return Promotions(
            stores.pods,
            stores.policies,
            stores.cluster_policies,
            stores.index,
            self._evidence,
            say=self._events.say,
        )

    def _writer(self, promotions: Promotions) -> StatusWriter:
        """Of all statuses, told of whatever they depend on."""
        stores = self._stores
        access = AccessStatuses(
            stores.index, stores.namespaces, stores.grants, self._settings.trust_domain, self._events.say
        )
        of_trust_domains = TrustDomainStatus(
            lambda: self._rotation.standing,
            serving=lambda: self._serving.lives,
            unheeded=lambda: self._trust_domain.unheeded,
        )
        writer = StatusWriter(
            self._client,
            stores.index,
            stores.pods,
            promotion=promotions.status,
            kinds={**access.kinds(), **of_trust_domains.kinds()},
        )
        promotions.changed = writer.mark
        stores.namespaces.subscribe(lambda _before, _after: writer.mark_policies())
        stores.policies.subscribe(lambda _before, _after: writer.mark_policies())
        stores.cluster_policies.subscribe(lambda _before, _after: writer.mark_policies())
        stores.grants.subscribe(lambda _before, _after: writer.mark_policies())
        stores.expiry.subscribe(writer.mark_policies)
        return writer

    def _reports(self) -> Reports:
        settings, stores = self._settings, self._stores
        return Reports(
            stores.pods, stores.namespaces, stores.index, settings.namespace, settings.sidecar_image, self._events.say
        )

    def _obstacles(self) -> Obstacles:
        stores = self._stores
        return Obstacles(
            self._client,
            stores.pods,
            stores.namespaces,
            stores.services,
            stores.index,
            self._settings.namespace,
            self._events.say,
        )

    def _sidecar_counts(self) -> SidecarCounts:
        settings, stores = self._settings, self._stores
        return SidecarCounts(
            stores.pods,
            stores.index,
            lambda: self._evidence.view,
            settings.namespace,
            settings.sidecar_image,
            self._registry,
        )

    def _expiring(self, issuer: Issuer) -> Expiring:
        serving, trust_domain = self._serving, self._trust_domain
        sources = ExpiringSources(
            self._authorities,
            lambda: self._evidence.view,
            issuer.failure,
            lambda: (serving.lives, serving.failure),
            lambda: trust_domain.regarding,
            lambda: trust_domain.now.rotation.paused,
            self._issuer_refusal,
            issuer.why_revoked,
        )
        stores = self._stores
        return Expiring(stores.pods, stores.secrets, sources, say=self._events.say, registry=self._registry)

    # --- what they ask and say

    def _authorities(self) -> AuthoritySet:
        return self._rotation.authorities

    def _issuer_refusal(self) -> str:
        """What is wrong with the external issuer's Secret; empty: nothing."""
        offer = self._rotation.standing.offer
        return offer.refusal if offer is not None else ""

    def _pod_event(self, pod: Pod, kind: str, reason: str, note: str) -> None:
        self._events.say(about_pod(pod), kind, reason, note)

    def _say_of_trust_domain(self, kind: str, reason: str, note: str) -> None:
        self._events.say(self._trust_domain.regarding, kind, reason, note)

    def _tell_unheeded_issuer(self) -> None:
        """At the start, and with each change of the TrustDomain: a value without effect must not seem to have one."""
        sentence = self._trust_domain.unheeded
        if sentence:
            log.warning("a chart value has no effect", extra={"value": "issuer.secretName", "detail": sentence})
            self._say_of_trust_domain("Warning", "IssuerValueDiffers", sentence)

    def _warn(self, reason: str, sentence: str) -> None:
        """Something about the authorities that an administrator must see."""
        log.error("authority", extra={"reason": reason, "detail": sentence})
        self._say_of_trust_domain("Warning", reason, sentence)
