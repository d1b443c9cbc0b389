"""One line per connection, when it ends: who, to whom, how much, how protected, and by which rule.

A refused connection has a line too: it is the line that its owner looks for.
"""

import logging
from dataclasses import dataclass
from typing import Final

from handfast_sidecar.identity.spiffe import SpiffeId

log = logging.getLogger("handfast.access")

ALLOWED: Final = "allowed"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """What happened to one connection of an application."""

    direction: str
    """`in` or `out`, as the pod sees it."""
    own: SpiffeId
    peer: SpiffeId | None
    """None: the peer has no identity, the connection was or would have been plaintext."""
    source: str
    destination: str
    """Address and port, as the application that opened the connection meant them."""
    bytes_in: int = 0
    bytes_out: int = 0
    duration_s: float = 0.0
    tls_version: str = ""
    cipher: str = ""
    group: str = ""
    verdict: str = ALLOWED
    rule: str = ""
    """The object whose rule decided, such as `MTLSPolicy shop/orders`."""
    reason: str = ""
    """Why it was refused, or how it ended when it did not end by itself."""


def write(record: ConnectionRecord) -> None:
    """Log the record: a refusal as a warning, everything else as information."""
    level = logging.WARNING if record.verdict == REFUSED else logging.INFO
    if log.isEnabledFor(level):
        log.log(level, "connection", extra=fields(record))


def fields(record: ConnectionRecord) -> dict[str, object]:
    """The line's fields; what has no value is left out, except that "no peer identity" is always said."""
    line: dict[str, object] = {
        "direction": record.direction,
        "own": str(record.own),
        "peer": str(record.peer) if record.peer is not None else None,
        "source": record.source,
        "destination": record.destination,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "duration": round(record.duration_s, 6),
        "verdict": record.verdict,
    }
    if record.tls_version:
        line["tls"] = {"version": record.tls_version, "cipher": record.cipher, "group": record.group}
    if record.rule:
        line["rule"] = record.rule
    if record.reason:
        line["reason"] = record.reason
    return line
