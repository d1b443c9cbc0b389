"""One application connection, as it is told at its end: a fact for the log, the metrics and the evidence."""

import time
from dataclasses import dataclass, field
from typing import Literal, Protocol

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.tunnel.connection import Tunnel

OK = "ok"
"""The reason of a connection that ended as its two ends ended it."""


@dataclass(frozen=True, slots=True)
class Protection:
    """The TLS of a connection that is not in a tunnel; the three names are those of a `Tunnel`."""

    version: str
    cipher: str
    group: str


@dataclass(slots=True)
class Connection:
    """Filled in while the connection lives; `traffic.telemetry` turns it into a line and counts."""

    direction: Literal["in", "out"]
    source: str
    source_port: int
    destination: str
    """As the application named it."""
    destination_port: int
    peer: SpiffeId | None = None
    endpoint: str = ""
    """Address and port it was carried to, where that is not the destination."""
    tunnel: Tunnel | None = None
    protection: Protection | None = None
    """Where a foreign peer's own TLS carries it, and no tunnel does."""
    bytes_out: int = 0
    """From this pod's application."""
    bytes_in: int = 0
    """To this pod's application."""
    rule: str = ""
    """The policy that decided."""
    reason: str = OK
    refused: bool = False
    opened: bool = False
    """Whether the journal was told that it is carried."""
    started: float = field(default_factory=time.monotonic)


class Journal(Protocol):
    """Who is told of connections; `traffic.telemetry`."""

    def connection_opened(self, connection: Connection) -> None:
        """Both applications are connected, as far as this side knows."""

    def connection_over(self, connection: Connection) -> None:
        """It ended, or was refused."""
