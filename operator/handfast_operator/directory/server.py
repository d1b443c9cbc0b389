"""The verb `directory`: reflectors, certificate, acceptor and health port, wired together.

Nothing is answered before every store is complete: an index with holes would call a meshed pod nobody.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import aiohttp

from handfast_operator import metrics
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import (
    ACCESS_GRANTS,
    CLUSTER_MTLS_POLICIES,
    ENDPOINT_SLICES,
    MTLS_POLICIES,
    NAMESPACES,
    NODES_META,
    PODS,
    SERVICES,
    TRUST_DOMAINS,
    Kind,
)
from handfast_operator.cluster.objects import Namespace, Node, Pod, parse_namespace, parse_node, parse_pod
from handfast_operator.cluster.reflector import Reflector
from handfast_operator.cluster.services import EndpointSlice, Service, parse_endpoint_slice, parse_service
from handfast_operator.cluster.store import Store
from handfast_operator.controller.expiry import Expiry
from handfast_operator.controller.ranges import ClusterRanges
from handfast_operator.controller.revoked import RevokedNow
from handfast_operator.directory.acceptor import Acceptor, listen
from handfast_operator.directory.attribution import Attribution
from handfast_operator.directory.evidence import Evidence
from handfast_operator.directory.feed import EvidenceFeeds
from handfast_operator.directory.gate import Gate
from handfast_operator.directory.index import AddressIndex, Policies
from handfast_operator.directory.loopback import serve_evidence
from handfast_operator.directory.lost_history import Current, current_revision
from handfast_operator.directory.serving import ServingCertificate
from handfast_operator.directory.session import Peer, SessionEnded
from handfast_operator.directory.siblings import Siblings
from handfast_operator.directory.switchboard import Switchboard
from handfast_operator.health import Following, Health, serve_health
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.access import AccessGrant
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy, parse_trust_domain
from handfast_operator.resources.parse_access import parse_access_grant
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy
from handfast_operator.resources.trust_domain import TrustDomain
from handfast_operator.settings import Settings
from handfast_sidecar.identity.standing import REVOKED, ROOT_RETIRED
from handfast_sidecar.observe import table
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.observe.process import serve_process
from handfast_sidecar.wellknown import DIRECTORY_HEALTH_PORT, DIRECTORY_PORT

STALE_S: Final = 75.0
"""Seconds of silence of any watch after which this replica sends its sidecars to another one that knows more. Bookmarks
come once a minute, and the reflector gives a watch up after 70 s: less would be stale in every quiet cluster."""
DRAIN_S: Final = 3.0

log = logging.getLogger(__name__)

_Followed = tuple[Kind, Store[Any], Callable[[Any], Any]]


class DirectoryServer:
    """One replica, on stores that somebody else fills."""

    def __init__(
        self,
        settings: Settings,
        pods: Store[Pod],
        services: Store[Service],
        slices: Store[EndpointSlice],
        policies: Policies,
        *,
        registry: Registry,
        nodes: Store[Node] | None = None,
        revoked: RevokedNow | None = None,
        follows: Sequence[Following] = (),
        current: Current | None = None,
        siblings_know_more: Callable[[], bool] = lambda: True,
    ) -> None:
        self._settings = settings
        self._follows = follows
        self._revoked = revoked or RevokedNow(settings.trust_domain, Store())
        index = AddressIndex(settings.trust_domain, pods, services, slices, policies)
        self.evidence = Evidence(Attribution(index, pods), settings.pod_name)
        self.certificate = ServingCertificate(settings.tls_dir, registry)
        self.switchboard = Switchboard(
            pods,
            policies,
            index=index,
            evidence=self.evidence,
            registry=registry,
            nodes=nodes,
            revoked=lambda: self._revoked.current,
            fresh=self.fresh,
            siblings_know_more=siblings_know_more,
            current=current,
        )
        self.switchboard.cluster_ranges = tuple(map(str, settings.cluster_ranges))
        self.switchboard.objection = self._objection
        self._revoked.subscribe(self.switchboard.revocations_changed)
        if self._revoked.current.entries:
            self.switchboard.revocations_changed()
        table.REVOCATIONS.of(registry).set_function(lambda: len(self._revoked.current.entries))
        self.certificate.changed = self.switchboard.look_again
        self.feeds = EvidenceFeeds(self.evidence.view, registry)
        self.evidence.moved = self.feeds.wake
        self._acceptor = Acceptor(
            settings.trust_domain,
            self.certificate,
            Gate(index, pods),
            self.switchboard,
            registry,
            self.feeds,
            settings.controller_id,
        )
        _reported_connections(registry, self.evidence)

    def fresh(self) -> bool:
        """Whether every watch heard of the API server lately."""
        now = time.monotonic()
        return all(now - each.fresh_at < STALE_S for each in self._follows)

    def _objection(self, peer: Peer) -> SessionEnded | None:
        """What there is now against a sidecar that proved who it is."""
        if peer.root not in self.certificate.anchors:
            return SessionEnded(
                ROOT_RETIRED, f"the root that vouches for the leaf of {peer.pod} left the trust domain's bundle"
            )
        revocation = self._revoked.current.of(peer.identity, peer.serial, time.time())
        return SessionEnded(REVOKED, str(revocation)) if revocation is not None else None

    async def serve(self, listener: socket.socket, *, drain_s: float = DRAIN_S) -> None:
        """Accept until cancelled, then say goodbye to everybody."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.certificate.run())
                group.create_task(self._acceptor.run(listener))
                group.create_task(self.switchboard.run())
        finally:
            listener.close()
            self.feeds.stop()
            await self.switchboard.drain(drain_s)


async def run(settings: Settings) -> None:
    """Serve the cluster we run in until cancelled."""
    registry = Registry()
    serve_process(registry, "directory")
    async with ApiClient.connect() as client, contextlib.AsyncExitStack() as stack:
        pods, services, slices = Store[Pod](), Store[Service](), Store[EndpointSlice]()
        namespaces, nodes, policies = Store[Namespace](), Store[Node](), Store[MtlsPolicy]()
        cluster_policies, grants = Store[ClusterMtlsPolicy](), Store[AccessGrant]()
        trust_domains = Store[TrustDomain]()
        followed: list[_Followed] = [
            (PODS, pods, parse_pod),
            (SERVICES, services, parse_service),
            (ENDPOINT_SLICES, slices, parse_endpoint_slice),
            (NAMESPACES, namespaces, parse_namespace),
            (NODES_META, nodes, parse_node),
            (MTLS_POLICIES, policies, parse_mtls_policy),
            (CLUSTER_MTLS_POLICIES, cluster_policies, parse_cluster_mtls_policy),
            (ACCESS_GRANTS, grants, parse_access_grant),
            (TRUST_DOMAINS, trust_domains, parse_trust_domain),
        ]
        reflectors: list[Reflector[Any]] = [
            Reflector(
                client, kind, store, parse, went_back=lambda _plural, before: server.switchboard.went_back(before)
            )
            for kind, store, parse in followed
        ]
        index = PolicyIndex(pods, namespaces, policies, cluster_policies, settings.trust_domain, grants)
        Expiry(index, grants)
        siblings = Siblings(pods, settings, lambda: server.fresh())  # noqa: PLW0108 - it is made below
        server = DirectoryServer(
            settings,
            pods,
            services,
            slices,
            index,
            registry=registry,
            nodes=nodes,
            revoked=RevokedNow(settings.trust_domain, trust_domains),
            follows=reflectors,
            current=partial(current_revision, client),
            siblings_know_more=lambda: siblings.know_more,
        )
        accepting = False

        def not_ready() -> list[str]:
            reasons = [] if accepting else ["the lists of the API server are not complete yet"]
            if not server.fresh():
                reasons.append(f"a watch of the API server was silent for {STALE_S:.0f} s")
            if server.certificate.context is None:
                reasons.append(f"there is no serving certificate in {settings.tls_dir}")
            return reasons

        def addresses() -> list[str]:
            return [ip for pod in pods if not pod.host_network for ip in pod.ips] + [
                ip for each in services for ip in each.cluster_ips
            ]

        health = Health(registry, not_ready, client=client, follows=reflectors)
        await stack.enter_async_context(serve_health(health, DIRECTORY_HEALTH_PORT))
        await stack.enter_async_context(serve_evidence(server.evidence.view))
        async with asyncio.TaskGroup() as group:
            for each in reflectors:
                group.create_task(each.run())
            group.create_task(siblings.run())
            for each in reflectors:
                await each.wait_synced()
            await _follow_ranges(group, server, ClusterRanges(client, settings.cluster_ranges, addresses))
            listener = listen("", DIRECTORY_PORT)
            accepting = True
            log.info("serving", extra={"port": DIRECTORY_PORT, "pods": len(pods), "services": len(services)})
            await server.serve(listener)


async def _follow_ranges(group: asyncio.TaskGroup, server: DirectoryServer, ranges: ClusterRanges) -> None:
    """Sidecars that connect are told the ranges as known then; those before them have them from config.json."""

    def changed() -> None:
        server.switchboard.cluster_ranges = tuple(map(str, ranges.known))

    ranges.changed = changed
    try:
        await ranges.look()
    except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
        log.warning("cannot ask for the cluster's ranges yet", extra={"error": str(error)})
    group.create_task(ranges.run())


def _reported_connections(registry: Registry, evidence: Evidence) -> None:
    """Connections that sidecars reported, over all pods."""
    family = metrics.REPORTED.of(registry)
    for direction in ("in", "out"):
        for encrypted in (True, False):
            value = family.labels(direction, str(encrypted).lower())
            value.set_function(partial(evidence.total, direction, encrypted))
    metrics.REPORTING.of(registry).set_function(lambda: len(evidence))
    metrics.EDGES.of(registry).set_function(lambda: evidence.edges)
