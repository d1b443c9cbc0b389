"""Why this pod's own application refused a connection: nobody listens, or only where no other pod can reach it.

Asked after a refusal, never on a connection that succeeds. The one rule: whoever makes us look, by dialling port after
port, makes us look once a second at most.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from handfast_sidecar.observe.proc_net import TcpSocket, listeners

log = logging.getLogger(__name__)

AGAIN_S: Final = 300.0
"""Seconds after which the same is told of a port again."""
PACE_S: Final = 1.0
"""Seconds between two looks at the pod's sockets."""
MAX_TOLD: Final = 256
"""What is remembered as told; more is told when the oldest may be told again."""
_EVERYWHERE: Final = {4: "0.0.0.0", 6: "::"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a port refuses; `reason` is a stable word."""

    reason: str
    sentence: str


def explain(address: str, port: int, found: Iterable[TcpSocket], *, redirected: bool = True) -> Explanation | None:
    """Why a dial to the pod's own `address` and `port` is refused, by the sockets that listen. Pure.

    None: somebody listens there, so it has only just begun to. `redirected`: unless the pod is in explicit mode, where
    loopback is reached at the ports that containers declare.
    """
    places = sorted({each.address for each in found if each.port == port and each.listening})
    everywhere = _EVERYWHERE[ip_address(address).version]
    if address in places or everywhere in places:
        return None
    if not places:
        return Explanation(
            "nobody_listens",
            f"nobody listens on port {port} in this pod: is the application up, is this its port, and is the Service's "
            "targetPort right?",
        )
    where = " and ".join(places)
    bind = f"let it listen on {everywhere} or on {address}, as it would have to without the mesh"
    if all(ip_address(each).is_loopback for each in places):
        if not redirected:
            return Explanation(
                "loopback_only",
                f"the application listens on port {port} of {where} only, where peers reach what a container declares: "
                f"add containerPort {port} to the ports of its container",
            )
        return Explanation(
            "loopback_only",
            f"the application listens on port {port} of {where} only, where no other pod can reach it: {bind}",
        )
    return Explanation(
        "other_address", f"the application listens on port {port} of {where}, but {address} was dialled: {bind}"
    )


class Unanswered:
    """Tells of ports that refuse, in the log."""

    def __init__(
        self,
        look: Callable[[], Iterable[TcpSocket]] = listeners,
        clock: Callable[[], float] = time.monotonic,
        *,
        redirected: bool = True,
    ) -> None:
        self._look = look
        self._redirected = redirected
        self._clock = clock
        self._told: dict[tuple[int, str], float] = {}
        """When a port and its reason may be told of again."""
        self._next_look = clock()

    def refused(self, address: str, port: int) -> None:
        """The application refused a connection to one of the pod's own addresses."""
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + PACE_S
        self._told = {each: until for each, until in self._told.items() if now < until}
        found = explain(address, port, self._look(), redirected=self._redirected)
        if found is not None and (port, found.reason) not in self._told and len(self._told) < MAX_TOLD:
            self._told[port, found.reason] = now + AGAIN_S
            log.warning(
                "the application does not accept connections",
                extra={"port": port, "reason": found.reason, "detail": found.sentence},
            )
