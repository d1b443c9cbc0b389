"""From a route to whatever takes the connection: a tunnel or a socket, of another endpoint where one cannot be had.

The one rule: another endpoint is tried only while nothing was sent, so a request never arrives twice; and never
another way: where the directory said "meshed", what failed is not tried in plaintext.
"""

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from handfast_sidecar.directory.messages import AddressAnswer, Endpoint, Place, ServiceAddress
from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.dial import dial
from handfast_sidecar.traffic.endpoint_choice import EndpointChoice, endpoint_of
from handfast_sidecar.traffic.routing import ByTunnel, Plain, Refuse, Route
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.pool import TunnelPool

log = logging.getLogger(__name__)

MAX_TRIES: Final = 3
"""Endpoints of a Service that one connection tries."""
FURTHER_S: Final = 12.0
"""Seconds after a connection's first dial from which on no further endpoint is tried: enough for two dials that nobody
answers, or for one handshake that stays unfinished."""


@dataclass(frozen=True, slots=True)
class Tunnelled:
    """A tunnel to this endpoint."""

    endpoint: Endpoint
    tunnel: Tunnel


@dataclass(frozen=True, slots=True)
class Dialled:
    """A connected socket, unencrypted."""

    route: Plain
    sock: socket.socket


Reached = Tunnelled | Dialled | Refuse


class Answers(Protocol):
    """What is needed of the directory's client."""

    @property
    def place(self) -> Place: ...
    def known(self, address: str) -> AddressAnswer | None: ...


Permit = Callable[[Connection, Route], Route]
"""The route, or another one where the policy refuses it. Whatever is dialled was asked for."""


class Reach:
    """Dials, and tells the choice what came of it."""

    def __init__(
        self,
        directory: Answers,
        pool: TunnelPool,
        choice: EndpointChoice,
        clock: Callable[[], float],
        permit: Permit,
    ) -> None:
        self._directory, self._pool, self._choice, self._clock = directory, pool, choice, clock
        self._permit = permit
        pool.leaving = choice.leaving

    async def reach(self, connection: Connection, route: Route) -> Reached:
        """Whatever takes the connection. Raises HandshakeFailed or OSError, of the last one tried."""
        tried: list[Endpoint] = []
        last_begin = self._clock() + FURTHER_S
        while True:
            route = self._permit(connection, self._staying(connection, route))
            endpoint = endpoint_of(route)
            try:
                reached = await self._dial(route)
            except (HandshakeFailed, OSError) as failure:
                if endpoint is None or not isinstance(self._directory.known(connection.destination), ServiceAddress):
                    raise
                if self._choice.failed(endpoint):
                    _left_out(connection, endpoint, failure)
                tried.append(endpoint)
                other = self.other(connection, tried)
                if other is None or len(tried) == MAX_TRIES or self._clock() > last_begin:
                    raise
                route = other
            else:
                if isinstance(reached, Tunnelled) and not reached.tunnel.usable:
                    # It went away while we were waiting for it, and nothing was sent.
                    self._choice.leaving(reached.endpoint)
                    tried.append(reached.endpoint)
                    other = self.other(connection, tried)
                    if other is not None and len(tried) < MAX_TRIES and self._clock() <= last_begin:
                        route = other
                        continue
                elif endpoint is not None:
                    self._choice.health.succeeded(endpoint)
                return reached

    async def _dial(self, route: Route) -> Reached:
        match route:
            case ByTunnel(endpoint):
                return Tunnelled(endpoint, await self._pool.get(endpoint))
            case Plain(address, port):
                return Dialled(route, await dial(address, port))
            case Refuse():
                return route

    def _staying(self, connection: Connection, route: Route) -> Route:
        """The route, or another one where its endpoint said that it goes away."""
        leaving: list[Endpoint] = []
        other: Route | None = route
        while isinstance(other, ByTunnel) and self._pool.drains(other.endpoint):
            self._choice.leaving(other.endpoint)
            leaving.append(other.endpoint)
            other = self.other(connection, leaving)
        return other or route

    def other(self, connection: Connection, than: list[Endpoint]) -> Route | None:
        """Another endpoint of the Service that a connection is for; None without one, or without a Service."""
        answer = self._directory.known(connection.destination)
        if not isinstance(answer, ServiceAddress):
            return None
        return self._choice.other(answer, connection.destination_port, self._directory.place, than)


def _left_out(connection: Connection, endpoint: Endpoint, failure: HandshakeFailed | OSError) -> None:
    log.warning(
        "an endpoint is left out of the choice for a while",
        extra={
            "destination": f"{connection.destination}:{connection.destination_port}",
            "endpoint": f"{endpoint.address}:{endpoint.port}",
            "reason": f"handshake_{failure.reason}" if isinstance(failure, HandshakeFailed) else "connect_failed",
            "detail": str(failure),
        },
    )
