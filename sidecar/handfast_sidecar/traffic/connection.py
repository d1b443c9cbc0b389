"""One application connection, as it is told at its end: a fact for the log, the metrics and the evidence."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.identity.standing import OBJECTIONS
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.versions import NO_COMMON_VERSION

if TYPE_CHECKING:
    from handfast_sidecar.observe.evidence import EdgeCounts

OK = "ok"
"""The reason of a connection that ended as its two ends ended it."""
_AGAINST_THE_PEER = OBJECTIONS | {NO_COMMON_VERSION}


@dataclass(frozen=True, slots=True)
class Protection:
    """The TLS of a connection that is not in a tunnel; the three names are those of a `Tunnel`."""

    version: str
    cipher: str
    group: str
    spki_sha256: str = ""
    """The key that the peer has proven to hold, as `identity.leaf.Leaf` has it."""
    issuers: tuple[str, ...] = ()
    """Of the leaves of both sides, as `identity.leaf.Leaf` has them."""


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
    audited: str = ""
    """The reason for which it would have been refused, where the policy only audits."""
    refused: bool = False
    opened: bool = False
    """Whether the journal was told that it is carried."""
    detail: str = ""
    """What the policy has against it, in a sentence: why it was refused or ended, or would have been."""
    started: float = field(default_factory=time.monotonic)
    edge: "EdgeCounts | None" = None
    """Where the journal counts it, from its opening on."""

    def broken(self, reason: str) -> str:
        """The reason of a stream's abort: this one, unless its tunnel was ended for what there is against the peer."""
        tunnel = self.tunnel
        if tunnel is None or tunnel.ended not in _AGAINST_THE_PEER:
            return reason
        self.detail = tunnel.detail
        return tunnel.ended


class Journal(Protocol):
    """Who is told of connections; `traffic.telemetry`."""

    def connection_opened(self, connection: Connection) -> None:
        """Both applications are connected, as far as this side knows."""

    def connection_audited(self, connection: Connection) -> None:
        """It passes only because the policy does no more than audit; `audited` and `detail` say what there is."""

    def connection_over(self, connection: Connection) -> None:
        """It ended, or was refused."""
