"""`sessionAffinity: ClientIP` as kube-proxy has it: the client is this pod, so each port of a Service has one endpoint.

Pure: the time is passed in. It holds from the last connection on, not from the first.
"""

from typing import Final

from handfast_sidecar.directory.messages import Endpoint

MAX_HELD: Final = 4096
"""Service ports remembered; the one that was used least recently makes room."""

ServicePort = tuple[str, int]
"""Cluster IP and port, as the application dials them."""
Endpoints = tuple[Endpoint, ...]


class Affinity:
    """The endpoint that each Service port sticks to, and until when."""

    def __init__(self) -> None:
        self._held: dict[ServicePort, tuple[Endpoint, Endpoints, float]] = {}
        """With the endpoints it was chosen from, and the time at which it is let go; the least recently used first."""

    def held(self, port: ServicePort, endpoints: Endpoints, now: float) -> Endpoint | None:
        """The endpoint to stay with; None when there is none, when its time is over, or when it is no endpoint now."""
        held = self._held.get(port)
        if held is None:
            return None
        endpoint, chosen_from, until = held
        if now >= until:
            return None
        return endpoint if chosen_from is endpoints else _found(endpoint, endpoints)

    def hold(self, port: ServicePort, endpoint: Endpoint, endpoints: Endpoints, until: float) -> None:
        """Stay with this one of the endpoints until then."""
        self._held.pop(port, None)
        if len(self._held) >= MAX_HELD:
            del self._held[next(iter(self._held))]
        self._held[port] = (endpoint, endpoints, until)


def _found(wanted: Endpoint, endpoints: Endpoints) -> Endpoint | None:
    """The same place in a later answer, which may reach it in another way."""
    same = (
        each for each in endpoints if (each.address, each.port, each.uid) == (wanted.address, wanted.port, wanted.uid)
    )
    return next(same, None)
