"""Where an outbound connection goes. Pure: what the directory answered in, a decision out.

No answer is not "unknown": inside the cluster's own ranges, silence is refused, because what lives there may be meshed
and would otherwise be spoken to in plaintext.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import assert_never

from handfast_sidecar.directory.messages import (
    AddressAnswer,
    Endpoint,
    NobodyAddress,
    PodAddress,
    ServiceAddress,
    Transport,
)

OpenStreams = Callable[[Endpoint], int]


@dataclass(frozen=True, slots=True)
class ByTunnel:
    """Through a tunnel to this endpoint, whose identity is known."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Plain:
    """Unencrypted to this address."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Not at all; `reason` is the metric's label."""

    reason: str
    sentence: str


Route = ByTunnel | Plain | Refuse


def route(
    answer: AddressAnswer | None, address: str, port: int, *, in_cluster: bool, load: OpenStreams, random: Random
) -> Route:
    """Decide for a connection to `address` and `port`, as the application dialled them.

    `in_cluster` is asked only of an address that has no answer.
    """
    match answer:
        case None:
            return _unanswered(address, port, in_cluster=in_cluster)
        case NobodyAddress():
            return Plain(address, port)
        case PodAddress():
            return _to_endpoint(answer.endpoint(port))
        case ServiceAddress():
            return _to_service(answer, port, load, random)
        case _:
            assert_never(answer)


def choose(endpoints: tuple[Endpoint, ...], load: OpenStreams, random: Random) -> Endpoint:
    """Two random choices, fewer open connections wins: nearly as even as asking all, without the herd."""
    if len(endpoints) == 1:
        return endpoints[0]
    first, second = random.sample(endpoints, 2)
    return first if load(first) <= load(second) else second


def _to_service(service: ServiceAddress, port: int, load: OpenStreams, random: Random) -> Route:
    endpoints = service.ports.get(port)
    if endpoints is None:
        return Refuse("no_such_port", f"the Service {service.name} has no TCP port {port}")
    if not endpoints:
        return Refuse("no_endpoints", _no_endpoints(service.name, port))
    if all(endpoint.transport is Transport.PLAINTEXT for endpoint in endpoints):
        # Nothing of ours behind it: leave the choice, and its affinity, to kube-proxy.
        return Plain(service.address, port)
    return _to_endpoint(choose(endpoints, load, random))


def _to_endpoint(endpoint: Endpoint) -> Route:
    if endpoint.transport is Transport.TUNNEL:
        return ByTunnel(endpoint)
    return Plain(endpoint.address, endpoint.port)


def _no_endpoints(service: str, port: int) -> str:
    namespace, _, name = service.partition("/")
    return (
        f"the Service {service} has no ready endpoint for port {port}: does its selector match pods, are they Ready, "
        "and do they have its targetPort? "
        f"kubectl get endpointslices -n {namespace} -l kubernetes.io/service-name={name}"
    )


def _unanswered(address: str, port: int, *, in_cluster: bool) -> Route:
    if not in_cluster:
        return Plain(address, port)
    return Refuse(
        "directory_unavailable",
        f"{address} is in the cluster's ranges, and no handfast-directory said what lives there: is one running?",
    )
