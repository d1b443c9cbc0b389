"""Whose traffic a sidecar's report tells of, and whether it is the one who counts it. Pure.

Both ends of a connection may have a sidecar, so each kind of fact has one witness:

| the report of | counts |
|---|---|
| the server (`in`) | everything that reached it: from a peer that proved an identity, and in plaintext |
| the client (`out`), in plaintext | everything, where the destination has no sidecar that sees it |
| the client (`out`), in plaintext, to a pod whose sidecar sees it | what was refused or audited: it never came there |
| the client (`out`), by mutual TLS with a server without a sidecar | everything |
| the client (`out`), through a tunnel | nothing: the server's sidecar has seen it, and its answer was the refusal |

A pod is named after its workload, as of the moment at which its report arrives; an address that a pod lost a while ago
is still that pod's.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.cluster.workload import workload_of
from handfast_operator.directory.holders import addresses_of
from handfast_operator.directory.index import AddressIndex
from handfast_operator.evidence.view import EdgeKey, Party
from handfast_sidecar.config.ports import PortRange, parse_ports
from handfast_sidecar.directory.messages import Edge
from handfast_sidecar.errors import BadInput, BadSpiffeId
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.wellknown import ANNOTATION_INTERCEPTION, ANNOTATION_SKIP_INBOUND_PORTS, INTERCEPTION_NONE

REMEMBERED: Final = 4096
"""Addresses that pods lost, by which a client that has ended is still known when its server reports."""
OTHER: Final = Party("", "other")
"""What a sidecar or this replica had no room for."""


@dataclass(frozen=True, slots=True)
class Attributed:
    """Where an edge of a report is counted."""

    key: EdgeKey
    refusals_only: bool = False
    """What was carried is counted by the other side."""


class Attribution:
    """Names both ends of edges, by what lives where."""

    def __init__(self, index: AddressIndex, pods: Store[Pod]) -> None:
        self._index = index
        self._left: OrderedDict[str, Party] = OrderedDict()
        pods.subscribe(self._pod_changed)

    def reporter(self, uid: str, identity: SpiffeId) -> Party | None:
        """The workload of a pod, with the identity that it proved; None when the pod is gone."""
        pod = self._index.pod(uid)
        return _party(pod, str(identity)) if pod is not None else None

    def of(self, reporter: Party, edge: Edge) -> Attributed | None:
        """Where an edge that this workload reports is counted; None: another side counts it, or it cannot be read."""
        if not 0 <= edge.port <= 65535:
            return None
        if edge.direction == "in":
            source = self._peer(edge)
            return Attributed((source, reporter, edge.port, edge.encrypted)) if source is not None else None
        if edge.direction != "out" or (edge.encrypted and not edge.foreign):
            return None
        destination = self._peer(edge)
        if destination is None:
            return None
        pod = self._index.pod_at(edge.peer) if not edge.encrypted else None
        return Attributed((reporter, destination, edge.port, edge.encrypted), pod is not None and _sees(pod, edge.port))

    def _peer(self, edge: Edge) -> Party | None:
        if edge.peer == OTHER.name:
            return OTHER
        if edge.encrypted or edge.peer.startswith("spiffe:"):
            return _by_identity(edge.peer)
        service = self._index.service_at(edge.peer) if edge.direction == "out" else None
        if service is not None:
            return Party(service[0], f"service/{service[1]}")
        pod = self._index.pod_at(edge.peer)
        if pod is not None:
            return _party(pod)
        return self._left.get(edge.peer) or _by_address(edge.peer)

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if before is None:
            return
        same = after is not None and after.uid == before.uid
        for address in addresses_of(before) - (addresses_of(after) if same else frozenset()):
            self._left[address] = _party(before)
            self._left.move_to_end(address)
        while len(self._left) > REMEMBERED:
            self._left.popitem(last=False)


def _party(pod: Pod, identity: str = "") -> Party:
    workload = workload_of(pod)
    return Party(workload.namespace, f"{workload.kind.lower()}/{workload.name}", identity)


@lru_cache(maxsize=4096)
def _by_identity(peer: str) -> Party | None:
    """A service account's name where the SPIFFE ID is one of ours, else the ID's path; shared by all its edges."""
    try:
        identity = SpiffeId.parse(peer)
    except BadSpiffeId:
        return None
    match identity.path.split("/"):
        case ["", "ns", namespace, "sa", account]:
            return Party(namespace, f"serviceaccount/{account}", peer)
        case _:
            return Party("", identity.path.removeprefix("/"), peer)


@lru_cache(maxsize=4096)
def _by_address(address: str) -> Party | None:
    try:
        return Party("", str(ip_address(address)))
    except ValueError:
        return None


def _sees(pod: Pod, port: int) -> bool:
    """Whether the pod's own sidecar meets plaintext to this port."""
    if not pod.meshed or pod.annotations.get(ANNOTATION_INTERCEPTION) == INTERCEPTION_NONE:
        return False
    return not any(port in ports for ports in _skipped(pod.annotations.get(ANNOTATION_SKIP_INBOUND_PORTS, "")))


@lru_cache(maxsize=1024)
def _skipped(annotation: str) -> tuple[PortRange, ...]:
    try:
        return parse_ports(annotation)
    except BadInput:
        return ()  # the webhook would have refused it: from before it did
