"""What stands in the way of meshed pods is told to their owners: the edge of `handfast_operator.obstacles`.

The one rule: a look is a courtesy. It waits until changes have settled, takes a small part of one CPU whatever the size
of the cluster, and an API server that does not show its NetworkPolicies keeps the controller from nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import NETWORK_POLICIES
from handfast_operator.cluster.network_policies import NetworkPolicy, parse_network_policy
from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.reflector import Reflector
from handfast_operator.cluster.services import Service
from handfast_operator.cluster.store import Store
from handfast_operator.controller.events import AGAIN, Regarding
from handfast_operator.obstacles.closed_ports import Scene, findings_about, findings_about_directory
from handfast_operator.obstacles.finding import Finding
from handfast_operator.obstacles.host_ports import host_port_findings
from handfast_operator.obstacles.parties import Grouping, Party, parties
from handfast_operator.policy.index import PolicyIndex
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.wellknown import DIRECTORY_ACCOUNT

log = logging.getLogger(__name__)

SETTLE_S: Final = 2.0
"""Seconds from a change to the look at it: a rollout, or a file with two policies, is many changes."""
PAUSE_S: Final = 10.0
"""Seconds between two looks, at least."""
SHARE: Final = 20
"""Times as long as a look took until the next one: looking costs a twentieth of a CPU at most."""
CHUNK: Final = 500
"""Pods that are grouped at one turn of the loop."""
Say = Callable[[Regarding, str, str, str], None]


def tell(say: Say, finding: Finding) -> None:
    """As a warning about the pod, once for all pods that its subject stands for."""
    pod = finding.pod
    regarding = Regarding("v1", "Pod", pod.namespace, pod.name, pod.uid, finding.subject)
    say(regarding, "Warning", finding.reason, finding.sentence)


class Stopwatch:
    """Runs while we do, and not while others have their turn."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = time.monotonic()

    async def pause(self) -> None:
        """Let the others have theirs."""
        self.seconds += time.monotonic() - self._since
        await asyncio.sleep(0)
        self._since = time.monotonic()


class HostPorts:
    """Tells of host ports under a policy that refuses who uses them, as pods appear and policies change."""

    def __init__(self, pods: Store[Pod], index: PolicyIndex, say: Say) -> None:
        self._index = index
        self._say = say
        pods.subscribe(self._pod_changed)
        index.subscribe(self.look)

    def look(self, pod: Pod) -> None:
        """Say what is to be said of a pod."""
        if any(port.host_port for port in pod.ports):
            for finding in host_port_findings(pod, self._index.compiled(pod).policy):
                tell(self._say, finding)

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if after is not None and (before is None or before.uid != after.uid):
            self.look(after)


class Obstacles:
    """Tells of NetworkPolicies in the way, some seconds after whatever may have changed the answer."""

    def __init__(
        self,
        client: ApiClient,
        pods: Store[Pod],
        namespaces: Store[Namespace],
        services: Store[Service],
        index: PolicyIndex,
        operator_namespace: str,
        say: Say,
    ) -> None:
        self._pods, self._services, self._index = pods, services, index
        self._operator_namespace = operator_namespace
        self._say = say
        self._changed = asyncio.Event()
        self.policies = Store[NetworkPolicy]()
        self._reflector = Reflector(client, NETWORK_POLICIES, self.policies, parse_network_policy)
        pods.subscribe(self._pod_changed)
        namespaces.subscribe(self._namespace_changed)
        index.subscribe(lambda _pod: self._changed.set())
        self.policies.subscribe(lambda _before, _after: self._changed.set())

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reflector.run())
            group.create_task(self._looks())

    async def look(self) -> float:
        """Look once at everything, one party at a turn of the loop; the seconds that it took of this process."""
        policies = list(self.policies)
        if not policies:
            return 0.0
        spent = Stopwatch()
        grouping = Grouping(policies, self._index.namespace_labels)
        for number, pod in enumerate(list(self._pods), 1):
            if pod.meshed and _runs(pod):
                grouping.add(pod)
            if not number % CHUNK:
                await spent.pause()
        scene = Scene(grouping.parties(), self._directory(policies), policies, self._policy_of)
        for party in scene.meshed:
            for finding in findings_about(party, scene):
                tell(self._say, finding)
            await spent.pause()
        for finding in findings_about_directory(scene):
            tell(self._say, finding)
        await spent.pause()
        return spent.seconds

    async def _looks(self) -> None:
        await self._reflector.wait_synced()
        while True:
            with suppress(TimeoutError):
                # Events are forgotten after an hour, and policies stay.
                await asyncio.wait_for(self._changed.wait(), AGAIN.total_seconds())
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            await asyncio.sleep(max(PAUSE_S, SHARE * await self.look()))

    def _directory(self, policies: list[NetworkPolicy]) -> list[Party]:
        """Its pods, and the address of its Service: some implementations see one, some the other."""
        pods = [
            pod
            for pod in self._pods
            if pod.namespace == self._operator_namespace and pod.service_account == DIRECTORY_ACCOUNT and _runs(pod)
        ]
        service = self._services.get(self._operator_namespace, DIRECTORY_ACCOUNT)
        found = parties(pods, self._index.namespace_labels, policies)
        for party in found:
            party.addresses = service.cluster_ips if service is not None else ()
        return found

    def _policy_of(self, party: Party) -> EffectivePolicy:
        return self._index.compiled(party.first).policy

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        """Not each heartbeat of a status."""
        if before is None or after is None or _seen(before) != _seen(after):
            self._changed.set()

    def _namespace_changed(self, before: Namespace | None, after: Namespace | None) -> None:
        if before is None or after is None or before.labels != after.labels:
            self._changed.set()


def _runs(pod: Pod) -> bool:
    """Whether NetworkPolicies are its affair."""
    return bool(pod.ips) and not (pod.terminal or pod.deleting or pod.host_network)


def _seen(pod: Pod) -> object:
    return (pod.uid, pod.labels, pod.ips, _runs(pod))
