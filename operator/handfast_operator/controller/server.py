"""The verb `controller`: waits for the Lease, then wires reflectors, authority, issuer and what else writes.

Reflectors run before it leads, so that a standby takes over in the time of one Lease.
"""

import asyncio
import logging
from datetime import timedelta
from typing import Any, Final

import aiohttp

from handfast_operator.authority.authority import AuthoritySet, NoAuthority
from handfast_operator.authority.storage import AuthorityStorage
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import (
    CLUSTER_MTLS_POLICIES,
    MTLS_POLICIES,
    NAMESPACES,
    PODS,
    SECRETS_META,
    SERVICES,
)
from handfast_operator.cluster.objects import Namespace, Pod, SecretMeta, parse_namespace, parse_pod, parse_secret_meta
from handfast_operator.cluster.reflector import Reflector
from handfast_operator.cluster.services import Service, parse_service
from handfast_operator.cluster.store import Store
from handfast_operator.controller.config import ConfigSource
from handfast_operator.controller.events import EventWriter, Regarding, about_pod
from handfast_operator.controller.issuer import Issuer
from handfast_operator.controller.lease import Election
from handfast_operator.controller.obstacles import HostPorts, Obstacles
from handfast_operator.controller.ranges import ClusterRanges
from handfast_operator.controller.reports import Reports
from handfast_operator.controller.resources import ensure_trust_domain, watch_resources
from handfast_operator.controller.serving import ServingCertificates
from handfast_operator.controller.status import StatusWriter
from handfast_operator.health import Health, serve_health, waiting_for
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.parse import (
    parse_cluster_mtls_policy,
    parse_mtls_policy,
    parse_trust_domain,
)
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy
from handfast_operator.settings import Settings
from handfast_sidecar.errors import HandfastError
from handfast_sidecar.identity.clock import utc_now
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.wellknown import API_GROUP, API_VERSION, CONTROLLER_HEALTH_PORT

log = logging.getLogger(__name__)

LOOK_AFTER_AUTHORITY_S: Final = 60.0
"""Seconds between looks at the authority: a root that has ended is followed by another one."""


class Stores:
    """What the controller knows of the cluster, and the reflectors that keep it true."""

    def __init__(self, client: ApiClient) -> None:
        self.pods = Store[Pod]()
        self.services = Store[Service]()
        self.namespaces = Store[Namespace]()
        self.secrets = Store[SecretMeta]()
        self.policies = Store[MtlsPolicy]()
        self.cluster_policies = Store[ClusterMtlsPolicy]()
        self.index = PolicyIndex(self.pods, self.namespaces, self.policies, self.cluster_policies)
        self.reflectors: list[Reflector[Any]] = [
            # Policies and namespaces first: the first pod is judged by all of them.
            Reflector(client, NAMESPACES, self.namespaces, parse_namespace),
            Reflector(client, MTLS_POLICIES, self.policies, parse_mtls_policy),
            Reflector(client, CLUSTER_MTLS_POLICIES, self.cluster_policies, parse_cluster_mtls_policy),
            Reflector(client, SERVICES, self.services, parse_service),
            Reflector(client, SECRETS_META, self.secrets, parse_secret_meta),
            Reflector(client, PODS, self.pods, parse_pod),
        ]

    async def synced(self) -> None:
        """Until all first lists are complete."""
        for reflector in self.reflectors:
            await reflector.wait_synced()

    def not_ready(self) -> list[str]:
        """Which lists are missing."""
        return waiting_for(
            namespaces=self.namespaces,
            policies=self.policies,
            cluster_policies=self.cluster_policies,
            services=self.services,
            secrets=self.secrets,
            pods=self.pods,
        )

    def addresses(self) -> list[str]:
        """Of pods and Services, for a guess at the cluster's ranges."""
        pods = (ip for pod in self.pods if not pod.host_network for ip in pod.ips)
        return [*pods, *(ip for service in self.services for ip in service.cluster_ips)]


class Controller:
    """Everything that writes, while this process leads."""

    def __init__(self, client: ApiClient, settings: Settings, stores: Stores, registry: Registry) -> None:
        self._client = client
        self._settings = settings
        self._stores = stores
        self._registry = registry
        self._events = EventWriter(client, settings.pod_name)
        self._storage = AuthorityStorage(client, settings.namespace, settings.trust_domain, self._warn)
        self._authorities: AuthoritySet | None = None
        self.established = False
        """Whether webhook and directory have what they serve with, and the API server knows whom to trust."""
        self._trust_domain: dict[str, Any] = {}

    @property
    def authorities(self) -> AuthoritySet:
        """As last read."""
        if self._authorities is None:
            raise RuntimeError("the authorities are used before the controller leads")
        return self._authorities

    async def run(self) -> None:
        """Write until cancelled. Raises ApiError when the first steps cannot be done."""
        settings, stores = self._settings, self._stores
        self._trust_domain = await ensure_trust_domain(self._client, settings.trust_domain)
        self._authorities = await self._storage.ensure(utc_now(), self._root_ttl())
        self._registry.gauge(
            "handfast_authority_expiration_timestamp_seconds", "When the authority that signs ends."
        ).set_function(self._signs_until)
        ranges = ClusterRanges(self._client, settings.cluster_ranges, stores.addresses)
        await ranges.look()
        config = ConfigSource(
            settings.trust_domain, settings.namespace, stores.index, stores.services, lambda: ranges.known
        )
        ranges.changed = config.changed
        issuer = Issuer(
            self._client,
            stores.pods,
            stores.secrets,
            stores.index,
            config,
            self.authorities,
            event=self._pod_event,
            registry=self._registry,
        )
        serving = ServingCertificates(self._client, settings, lambda: self.authorities)
        writer = StatusWriter(self._client, stores.index, stores.pods, lambda: self.authorities)
        stores.namespaces.subscribe(lambda _before, _after: writer.mark_policies())
        stores.policies.subscribe(lambda _before, _after: writer.mark_policies())
        stores.cluster_policies.subscribe(lambda _before, _after: writer.mark_policies())
        reports = Reports(
            stores.pods,
            stores.namespaces,
            stores.index,
            settings.namespace,
            settings.sidecar_image,
            self._events.say,
        )
        HostPorts(stores.pods, stores.index, self._events.say)
        obstacles = Obstacles(
            self._client,
            stores.pods,
            stores.namespaces,
            stores.services,
            stores.index,
            settings.namespace,
            self._events.say,
        )
        await serving.ensure()
        self.established = True
        async with asyncio.TaskGroup() as group:
            group.create_task(issuer.run())
            group.create_task(serving.run())
            group.create_task(self._events.run())
            group.create_task(writer.run())
            group.create_task(watch_resources(writer))
            group.create_task(ranges.run())
            group.create_task(reports.run())
            group.create_task(obstacles.run())
            group.create_task(self._look_after_authority(issuer, writer))

    async def _look_after_authority(self, issuer: Issuer, writer: StatusWriter) -> None:
        """Notice what others did to the authorities' Secrets, and make a new root when the last one has ended."""
        while True:
            await asyncio.sleep(LOOK_AFTER_AUTHORITY_S)
            try:
                # Its spec may have changed, and one that was deleted comes back: it carries the authority's status.
                self._trust_domain = await ensure_trust_domain(self._client, self._settings.trust_domain)
                found = await self._storage.ensure(utc_now(), self._root_ttl())
            except (ApiError, HandfastError, aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("cannot look after the authority, trying again", extra={"error": str(error)})
                continue
            if (found.fingerprint, found.active.serial) != (
                self.authorities.fingerprint,
                self.authorities.active.serial,
            ):
                self._authorities = found
                issuer.authorities_changed(found)
                writer.mark_trust_domains()

    def _signs_until(self) -> float:
        """In seconds of the epoch; 0 when nobody signs, which every alert takes for too late."""
        try:
            return self.authorities.active.certificate.not_valid_after_utc.timestamp()
        except NoAuthority:
            return 0

    def _root_ttl(self) -> timedelta:
        return parse_trust_domain(self._trust_domain).root_ttl

    def _pod_event(self, pod: Pod, kind: str, reason: str, note: str) -> None:
        self._events.say(about_pod(pod), kind, reason, note)

    def _warn(self, reason: str, sentence: str) -> None:
        """Something about the authorities that an administrator must see."""
        log.error("authority", extra={"reason": reason, "detail": sentence})
        meta = self._trust_domain.get("metadata") or {}
        regarding = Regarding(
            f"{API_GROUP}/{API_VERSION}", "TrustDomain", "", self._settings.trust_domain, str(meta.get("uid", ""))
        )
        self._events.say(regarding, "Warning", reason, sentence)


async def run(settings: Settings) -> None:
    """Wait for the Lease, then control until cancelled; a lost Lease ends the process."""
    registry = Registry()
    leading = registry.gauge("handfast_controller_leading", "1 while this controller holds the Lease.")
    async with ApiClient.connect() as client:
        stores = Stores(client)
        election = Election(client, settings.namespace, settings.pod_name)
        controller = Controller(client, settings, stores, registry)

        def not_ready() -> list[str]:
            """Also until pods that opt in can be created: "installed" must mean it."""
            reasons = stores.not_ready()
            if not (controller.established or election.standby):
                reasons.append("the webhook's certificate and caBundle are not written yet")
            return reasons

        health = Health(registry, not_ready, client=client, follows=stores.reflectors)
        async with serve_health(health, CONTROLLER_HEALTH_PORT), asyncio.TaskGroup() as group:
            for reflector in stores.reflectors:
                group.create_task(reflector.run())
            await stores.synced()
            await election.acquire()
            leading.set(1)
            try:
                async with asyncio.TaskGroup() as leadership:
                    leadership.create_task(election.keep())
                    leadership.create_task(controller.run())
            finally:
                # Nothing writes any more, so the next one may begin.
                leading.set(0)
                await election.release()
