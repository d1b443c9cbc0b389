"""Which endpoint of a Service takes a connection. Pure: the load, the time and chance are passed in.

Of those within reach of our node that are not left out, two at random, and of these the one with fewer open
connections. The one rule: what an answer of the directory means for us is worked out once, not for each connection.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random

from handfast_sidecar.directory.messages import MAX_WATCHES, Endpoint, Place, ServiceAddress, Transport
from handfast_sidecar.traffic.affinity import Affinity
from handfast_sidecar.traffic.endpoint_health import EndpointHealth
from handfast_sidecar.traffic.locality import Endpoints, within_reach
from handfast_sidecar.traffic.routing import ByTunnel, Plain, Refuse, Route

OpenStreams = Callable[[Endpoint], int]


@dataclass(frozen=True, slots=True)
class _Reach:
    """What one answer means at one place, by port."""

    service: ServiceAddress
    place: Place
    ports: dict[int, Endpoints | Plain | Refuse]


class EndpointChoice:
    """Chooses, and remembers who failed and to whom affinity holds.

    load   open connections to an endpoint
    clock  seconds that only grow
    """

    def __init__(self, load: OpenStreams, *, clock: Callable[[], float], random: Random) -> None:
        self._load, self._clock, self._random = load, clock, random
        self._reaches: dict[str, _Reach] = {}
        self._affinity = Affinity()
        self.health = EndpointHealth(random)

    def route(self, service: ServiceAddress, port: int, place: Place) -> Route:
        """Where a connection of a pod at `place` goes."""
        found = self._reach(service, port, place)
        if found is None:
            return Refuse("no_such_port", f"the Service {service.name} has no TCP port {port}")
        if not isinstance(found, tuple):
            return found
        if service.affinity or self.health.absent:
            return _to_endpoint(self._choose_with_care(service, port, found))
        return _to_endpoint(self._less_loaded(found))

    def other(self, service: ServiceAddress, port: int, place: Place, tried: Collection[Endpoint]) -> Route | None:
        """As `route`, for a connection that could not use those; None when there is no other."""
        found = self._reach(service, port, place)
        rest = tuple(each for each in found if each not in tried) if isinstance(found, tuple) else ()
        return _to_endpoint(self._choose_with_care(service, port, rest)) if rest else None

    def failed(self, endpoint: Endpoint) -> bool:
        """A dial of it failed; False when that is known."""
        return self.health.failed(endpoint, self._clock())

    def leaving(self, endpoint: Endpoint) -> None:
        """It said that it goes away: no new connections while there are others."""
        self.health.leaving(endpoint, self._clock())

    def _reach(self, service: ServiceAddress, port: int, place: Place) -> Endpoints | Plain | Refuse | None:
        reach = self._reaches.get(service.address)
        if reach is None or reach.service is not service or reach.place is not place:
            if len(self._reaches) >= MAX_WATCHES:
                self._reaches.clear()
            ports = {number: _within_reach(service, number, place) for number in service.ports}
            reach = self._reaches[service.address] = _Reach(service, place, ports)
        return reach.ports.get(port)

    def _choose_with_care(self, service: ServiceAddress, port: int, endpoints: Endpoints) -> Endpoint:
        now, key = self._clock(), (service.address, port)
        endpoint = self._affinity.held(key, endpoints, now) if service.affinity else None
        if endpoint is None or not self.health.is_usable(endpoint, now):
            endpoint = self._less_loaded(endpoints)
        if not self.health.is_usable(endpoint, now):
            # Only now all are looked at: most draws meet nobody who is left out.
            endpoint = self._less_loaded(self.health.usable(endpoints, now))
        self.health.chosen(endpoint, now)
        if service.affinity:
            self._affinity.hold(key, endpoint, endpoints, now + service.affinity)
        return endpoint

    def _less_loaded(self, endpoints: Endpoints) -> Endpoint:
        """Two random choices, fewer open connections wins: nearly as even as asking all, without the herd."""
        count = len(endpoints)
        if count == 1:
            return endpoints[0]
        index = int(self._random.random() * count)
        first, second = endpoints[index], endpoints[index - 1 - int(self._random.random() * (count - 1))]
        return first if self._load(first) <= self._load(second) else second


def endpoint_of(route: Route) -> Endpoint | None:
    """The endpoint behind a route; None where kube-proxy chooses, or nobody does."""
    return None if isinstance(route, Refuse) else route.endpoint


def _to_endpoint(endpoint: Endpoint) -> Route:
    if endpoint.transport is Transport.TUNNEL:
        return ByTunnel(endpoint)
    return Plain(endpoint.address, endpoint.port, endpoint)


def _within_reach(service: ServiceAddress, port: int, place: Place) -> Endpoints | Plain | Refuse:
    endpoints = service.ports[port]
    if not endpoints:
        return Refuse("no_endpoints", _no_endpoints(service.name, port))
    found = within_reach(endpoints, place, local=service.local)
    if not found:
        where = f"the node {place.node}" if place.node else "this pod's node, which no directory has named yet"
        return Refuse(
            "no_local_endpoints",
            f"the Service {service.name} has internalTrafficPolicy Local, and no ready endpoint for port {port} is on"
            f" {where}: run one there, or set the policy to Cluster",
        )
    if all(endpoint.transport is Transport.PLAINTEXT for endpoint in endpoints):
        # Nothing of ours behind it: leave the choice, and its affinity, to kube-proxy.
        return Plain(service.address, port)
    return found


def _no_endpoints(service: str, port: int) -> str:
    namespace, _, name = service.partition("/")
    return (
        f"the Service {service} has no ready endpoint for port {port}: does its selector match pods, are they Ready, "
        "and do they have its targetPort? "
        f"kubectl get endpointslices -n {namespace} -l kubernetes.io/service-name={name}"
    )
