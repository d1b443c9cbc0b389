"""Which plaintext stands in the way of which policy of mode `Auto`. Pure, over the evidence and the pods.

The one rule: a policy answers for what it decides. A pod whose mode another policy decides, and a port with an entry of
its own, is not its affair.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import nsmallest
from typing import Final

from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.workload import workload_of
from handfast_operator.evidence.view import EdgeView
from handfast_operator.policy.compile import CompiledPolicy

WorkloadKey = tuple[str, str]
"""Namespace, and workload as edges name it."""
MOST_LISTED: Final = 20


@dataclass(frozen=True, slots=True)
class PlaintextClient:
    """Somebody who connects without a tunnel."""

    namespace: str
    """Empty: it is no pod of the cluster."""
    name: str
    """Its workload, such as `deployment/cart`, else its address."""
    port: int
    """The container port that it connects to."""
    last_seen: datetime

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes two the same."""
        return (self.namespace, self.name, self.port)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Clients:
    """All of them, as far as it matters."""

    newest: tuple[PlaintextClient, ...] = ()
    """Those that were seen last, that one first."""
    total: int = 0

    @property
    def last_seen(self) -> datetime | None:
        """Any of them."""
        return self.newest[0].last_seen if self.newest else None


@dataclass(slots=True)
class Reach:
    """What one policy decides."""

    pods: list[Pod] = field(default_factory=list)
    """Meshed, and not ended."""
    own_entries: dict[WorkloadKey, frozenset[int]] = field(default_factory=dict)
    """The pods' workloads, each with the ports that have an entry of their own in all of its pods."""


def reaches(
    origins: Iterable[str], pods: Iterable[Pod], compiled: Callable[[Pod], CompiledPolicy]
) -> Mapping[str, Reach]:
    """What the policies of these origins decide."""
    found = {origin: Reach() for origin in origins}
    for pod in pods:
        if not pod.meshed or pod.terminal:
            continue
        policy = compiled(pod).policy
        reach = found.get(policy.default.origin)
        if reach is not None:
            reach.pods.append(pod)
            workload = destination_of(pod)
            entries = frozenset(policy.ports)
            reach.own_entries[workload] = reach.own_entries.get(workload, entries) & entries
    return found


def plaintext_edges(edges: Iterable[EdgeView]) -> Mapping[WorkloadKey, Sequence[EdgeView]]:
    """Those that carried something, by destination: who was refused is no client."""
    found: dict[WorkloadKey, list[EdgeView]] = {}
    for edge in edges:
        if not edge.encrypted and (edge.last_carried or edge.open):
            found.setdefault((edge.destination.namespace, edge.destination.name), []).append(edge)
    return found


def clients(
    plaintext: Mapping[WorkloadKey, Sequence[EdgeView]], reach: Reach, now: datetime, within: timedelta
) -> Clients:
    """Who connected in plaintext to what the policy decides within that time.

    What a directory had no room for is part of an edge to nobody, and does not count: it is what was not seen for
    longest, outgoing connections to the whole internet included, and each was here before it became a part of that.
    """
    until = now.timestamp()
    newest: dict[tuple[str, str, int], float] = {}
    for workload, own_entries in reach.own_entries.items():
        for edge in plaintext.get(workload, ()):
            seen = until if edge.open else min(edge.last_carried, until)
            key = (edge.source.namespace, edge.source.name, edge.port)
            if edge.port not in own_entries and newest.get(key, until - within.total_seconds()) < seen:
                newest[key] = seen
    listed = nsmallest(MOST_LISTED, ((-seen, key) for key, seen in newest.items()))
    found = (PlaintextClient(*key, datetime.fromtimestamp(-seen, UTC)) for seen, key in listed)
    return Clients(tuple(found), len(newest))


def destination_of(pod: Pod) -> WorkloadKey:
    """A pod as edges to it name it."""
    workload = workload_of(pod)
    return (workload.namespace, f"{workload.kind.lower()}/{workload.name}")
