"""What lives at a Service's address: its ports, each with the endpoints that kube-proxy would choose among. Pure.

The one rule: an answer is the same for every sidecar, so it is encoded once. What differs by the node that asks is in
the answer's fields (`local`, `node`, `zones`, `nodes`), and the sidecar applies them (`traffic/locality.py`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from handfast_operator.cluster.services import EndpointSlice, Service, SliceEndpoint
from handfast_sidecar.directory.messages import MAX_LINE, Endpoint, ServiceAddress

ENDPOINT_BYTES: Final = 100
"""Of an endpoint's JSON, at most, beside its address, identity and UID."""
PLACE_BYTES: Final = 60
"""More of it, where it has a node, hints, or is terminating; beside their names."""
HINT_BYTES: Final = 3
"""Of a hint, beside its name."""
ANSWER_BYTES: Final = MAX_LINE - (64 << 10)
"""Room for the endpoints of one answer: of a Service with more, a longer line would end every watcher's stream."""


@dataclass(frozen=True, slots=True)
class Found:
    """Who stands behind an endpoint of a slice."""

    endpoint: Endpoint
    deleting: bool = False
    """Its pod is being deleted, which the slice may not say yet."""


Find = Callable[[SliceEndpoint, int], Found | None]
"""By endpoint and container port; None for one that is not, or not yet, to be answered."""


def service_answer(address: str, service: Service, slices: Iterable[EndpointSlice], find: Find) -> ServiceAddress:
    """What a sidecar is told of one cluster IP of a Service."""
    room = ANSWER_BYTES // max(1, len(service.ports))
    held = tuple(slices)
    ports = {port.port: _fitting(_endpoints(service, port.name, address, held, find), room) for port in service.ports}
    name = f"{service.namespace}/{service.name}"
    return ServiceAddress(address, name, ports, service.affinity_s, service.local)


def _endpoints(
    service: Service, port_name: str, cluster_ip: str, slices: Iterable[EndpointSlice], find: Find
) -> Iterable[Endpoint]:
    """The ready endpoints of one port, of the cluster IP's family, each once; and those that still serve while they
    terminate, where kube-proxy falls back to them: when none is ready, or perhaps none on some client's node."""
    ready: dict[tuple[str, int], Endpoint] = {}
    terminating: dict[tuple[str, int], Endpoint] = {}
    for each in slices:
        for port in each.ports:
            if port.name != port_name:
                continue
            for end in each.endpoints:
                found = find(end, port.port) if (":" in end.address) == (":" in cluster_ip) else None
                if found is None:
                    continue
                key = (end.address, port.port)
                if end.ready and (service.publishes_not_ready or not found.deleting):
                    ready.setdefault(key, _placed(found.endpoint, end, service))
                elif end.serving and (end.terminating or found.deleting):
                    terminating.setdefault(key, replace(_placed(found.endpoint, end, service), terminating=True))
    if ready and not service.local:
        return ready.values()
    return [*ready.values(), *(each for key, each in terminating.items() if key not in ready)]


def _placed(endpoint: Endpoint, end: SliceEndpoint, service: Service) -> Endpoint:
    """With what a sidecar needs to know of its place: mostly nothing."""
    if not (service.local or end.zones or end.nodes):
        return endpoint
    return replace(endpoint, node=end.node if service.local else "", zones=end.zones, nodes=end.nodes)


def _fitting(endpoints: Iterable[Endpoint], room: int) -> tuple[Endpoint, ...]:
    """As many endpoints as the line has room for."""
    taken = []
    for each in endpoints:
        room -= ENDPOINT_BYTES + len(each.address) + len(str(each.identity or "")) + len(each.uid)
        if each.node or each.zones or each.nodes or each.terminating:
            hints = sum(HINT_BYTES + len(name) for name in (*each.zones, *each.nodes))
            room -= PLACE_BYTES + len(each.node) + hints
        if room < 0:
            break
        taken.append(each)
    return tuple(taken)
