"""Who would be refused, if the policy did more than audit: told in the log, to whoever is about to enforce it.

The one rule: whoever dials often, or from many addresses, fills neither the log nor the memory. The metric counts what
is not told.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from handfast_sidecar.traffic.connection import Connection

log = logging.getLogger(__name__)

AGAIN_S: Final = 60.0
"""Seconds after which the same is told of a peer again."""
MAX_TOLD: Final = 1024
"""Peers, ports and reasons that are remembered as told; more is told when the oldest may be told again."""


class AuditLog:
    """Tells once a minute of each peer, port and reason."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[tuple[str, int, str], float] = {}
        """When it may be told again, the oldest first."""

    def tell(self, connection: Connection) -> None:
        """`audited` and `detail` of the connection say what."""
        now = self._clock()
        while self._told:
            oldest, again = next(iter(self._told.items()))
            if now < again:
                break
            del self._told[oldest]
        peer = str(connection.peer or connection.source)
        what = (peer, connection.destination_port, connection.audited)
        if what in self._told or len(self._told) >= MAX_TOLD:
            return
        self._told[what] = now + AGAIN_S
        log.warning(
            "audited: the policy would refuse this connection",
            extra={
                "direction": connection.direction,
                "peer": peer,
                "port": connection.destination_port,
                "reason": connection.audited,
                "rule": connection.rule,
                "detail": connection.detail,
            },
        )
