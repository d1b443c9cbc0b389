"""The verb `directory`: reflectors, certificate, acceptor and health port, wired together.

Nothing is answered before every store is complete: an index with holes would call a meshed pod nobody.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp import web

from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import (
    CLUSTER_MTLS_POLICIES,
    ENDPOINT_SLICES,
    MTLS_POLICIES,
    NAMESPACES,
    NODES_META,
    PODS,
    SERVICES,
)
from handfast_operator.cluster.objects import Namespace, Node, Pod, parse_namespace, parse_node, parse_pod
from handfast_operator.cluster.reflector import Reflector
from handfast_operator.cluster.services import EndpointSlice, Service, parse_endpoint_slice, parse_service
from handfast_operator.cluster.store import Store
from handfast_operator.controller.ranges import ClusterRanges
from handfast_operator.directory.acceptor import Acceptor, listen
from handfast_operator.directory.evidence import Evidence
from handfast_operator.directory.gate import Gate
from handfast_operator.directory.index import Policies
from handfast_operator.directory.serving import ServingCertificate
from handfast_operator.directory.switchboard import Switchboard
from handfast_operator.health import Following, Health, serve_health
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy
from handfast_operator.settings import Settings
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.wellknown import DIRECTORY_HEALTH_PORT, DIRECTORY_PORT

STALE_S: Final = 75.0
"""Seconds of silence of any watch after which this replica sends its sidecars to another one. Bookmarks come once a
minute, and the reflector gives a watch up after 70 s: less would be stale in every quiet cluster."""
DRAIN_S: Final = 3.0

log = logging.getLogger(__name__)


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
        follows: Sequence[Following] = (),
    ) -> None:
        self._settings = settings
        self._follows = follows
        self.evidence = Evidence()
        self.certificate = ServingCertificate(settings.tls_dir, registry)
        self.switchboard = Switchboard(
            settings.trust_domain,
            pods,
            services,
            slices,
            policies,
            evidence=self.evidence,
            registry=registry,
            nodes=nodes,
            fresh=self.fresh,
        )
        self.switchboard.cluster_ranges = tuple(map(str, settings.cluster_ranges))
        self._acceptor = Acceptor(
            settings.trust_domain, self.certificate, Gate(self.switchboard.index, pods), self.switchboard, registry
        )
        _reported_connections(registry, self.evidence)

    def fresh(self) -> bool:
        """Whether every watch heard of the API server lately."""
        now = time.monotonic()
        return all(now - each.fresh_at < STALE_S for each in self._follows)

    async def serve(self, listener: socket.socket, *, drain_s: float = DRAIN_S) -> None:
        """Accept until cancelled, then say goodbye to everybody."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.certificate.run())
                group.create_task(self._acceptor.run(listener))
                group.create_task(self.switchboard.run())
        finally:
            listener.close()
            await self.switchboard.drain(drain_s)


async def run(settings: Settings) -> None:
    """Serve the cluster we run in until cancelled."""
    registry = Registry()
    async with ApiClient.connect() as client, contextlib.AsyncExitStack() as stack:
        pods, services, slices = Store[Pod](), Store[Service](), Store[EndpointSlice]()
        namespaces, nodes, policies = Store[Namespace](), Store[Node](), Store[MtlsPolicy]()
        cluster_policies = Store[ClusterMtlsPolicy]()
        reflectors: list[Reflector[Any]] = [
            Reflector(client, PODS, pods, parse_pod),
            Reflector(client, SERVICES, services, parse_service),
            Reflector(client, ENDPOINT_SLICES, slices, parse_endpoint_slice),
            Reflector(client, NAMESPACES, namespaces, parse_namespace),
            Reflector(client, NODES_META, nodes, parse_node),
            Reflector(client, MTLS_POLICIES, policies, parse_mtls_policy),
            Reflector(client, CLUSTER_MTLS_POLICIES, cluster_policies, parse_cluster_mtls_policy),
        ]
        index = PolicyIndex(pods, namespaces, policies, cluster_policies)
        server = DirectoryServer(
            settings, pods, services, slices, index, registry=registry, nodes=nodes, follows=reflectors
        )
        accepting = False

        def not_ready() -> list[str]:
            reasons = [] if accepting else ["the lists of the API server are not complete yet"]
            if not server.fresh():
                reasons.append(f"a watch of the API server was silent for {STALE_S:.0f} s")
            if server.certificate.context is None:
                reasons.append(f"there is no serving certificate in {settings.tls_dir}")
            return reasons

        async def evidence(_request: web.Request) -> web.Response:
            return web.json_response(server.evidence.to_json())

        def addresses() -> list[str]:
            return [ip for pod in pods if not pod.host_network for ip in pod.ips] + [
                ip for each in services for ip in each.cluster_ips
            ]

        health = Health(registry, not_ready, client=client, follows=reflectors)
        await stack.enter_async_context(serve_health(health, DIRECTORY_HEALTH_PORT, [web.get("/evidence", evidence)]))
        async with asyncio.TaskGroup() as group:
            for each in reflectors:
                group.create_task(each.run())
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
    family = registry.gauge(
        "handfast_directory_reported_connections", "As sidecars last reported.", ("direction", "encrypted")
    )

    for key in evidence.totals():
        value = family.labels(key[0], str(key[1]).lower())
        value.set_function(partial(evidence.total, *key))
    registry.gauge("handfast_directory_reporting_pods", "Pods with a report.").set_function(lambda: len(evidence))
