"""Where an outbound connection goes. Pure: what the directory answered in, a decision out.

No answer is not "unknown": inside the cluster's own ranges, silence is refused, because what lives there may be meshed
and would otherwise be spoken to in plaintext.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from handfast_sidecar.directory.messages import (
    AddressAnswer,
    Endpoint,
    NobodyAddress,
    PodAddress,
    ServiceAddress,
    Transport,
)


@dataclass(frozen=True, slots=True)
class ByTunnel:
    """Through a tunnel to this endpoint, whose identity is known."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Plain:
    """Unencrypted to this address."""

    address: str
    port: int
    endpoint: Endpoint | None = None
    """The endpoint of a Service that it is, where we chose one."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Not at all; `reason` is the metric's label."""

    reason: str
    sentence: str
    rule: str = ""
    """The policy that refuses, where one does."""


Route = ByTunnel | Plain | Refuse


def route(
    answer: AddressAnswer | None,
    address: str,
    port: int,
    *,
    in_cluster: bool,
    to_service: Callable[[ServiceAddress, int], Route],
) -> Route:
    """Decide for a connection to `address` and `port`, as the application dialled them.

    `in_cluster` is asked only of an address that has no answer; `to_service` chooses one of a Service's endpoints.
    """
    match answer:
        case None:
            return _unanswered(address, port, in_cluster=in_cluster)
        case NobodyAddress():
            return Plain(address, port)
        case PodAddress():
            endpoint = answer.endpoint(port)
            return ByTunnel(endpoint) if endpoint.transport is Transport.TUNNEL else Plain(address, port)
        case ServiceAddress():
            return to_service(answer, port)
        case _:
            assert_never(answer)


def _unanswered(address: str, port: int, *, in_cluster: bool) -> Route:
    if not in_cluster:
        return Plain(address, port)
    return Refuse(
        "directory_unavailable",
        f"{address} is in the cluster's ranges, and no handfast-directory said what lives there: is one running?",
    )
