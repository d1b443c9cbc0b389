"""One line per connection, when it ends: who, to whom, how much, how protected, and by which rule.

A refused connection has a line too: it is the line that its owner looks for.
"""

import logging
import time
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.observe.logs import lines, timestamp

log = logging.getLogger("handfast.access")

ALLOWED: Final = "allowed"
REFUSED: Final = "refused"


@dataclass(slots=True)
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
    audited: str = ""
    """The reason for which the policy would have refused it, if it did more than audit."""
    detail: str = ""
    """What the policy has against it, in a sentence."""


def write(record: ConnectionRecord) -> None:
    """Log the record: a refusal as a warning, everything else as information."""
    level = logging.WARNING if record.verdict == REFUSED else logging.INFO
    if log.isEnabledFor(level):
        lines.put(as_line(record, "warning" if record.verdict == REFUSED else "info", time.time()))


def as_line(record: ConnectionRecord, level: str, now: float) -> str:
    """The JSON that `logs` would write for these fields, put together by hand: it is written for every connection.

    What has no value is left out, except that "no peer identity" is always said.
    """
    peer = quoted(str(record.peer)) if record.peer is not None else "null"
    line = (
        f'{{"time":"{timestamp(now)}","level":"{level}","logger":"{log.name}","message":"connection",'
        f'"direction":"{record.direction}","own":{quoted(str(record.own))},"peer":{peer},'
        f'"source":{quoted(record.source)},"destination":{quoted(record.destination)},'
        f'"bytes_in":{record.bytes_in},"bytes_out":{record.bytes_out},"duration":{record.duration_s:.6f},'
        f'"verdict":"{record.verdict}"'
    )
    if record.tls_version:
        line += (
            f',"tls":{{"version":{quoted(record.tls_version)},"cipher":{quoted(record.cipher)},'
            f'"group":{quoted(record.group)}}}'
        )
    if record.rule:
        line += f',"rule":{quoted(record.rule)}'
    if record.reason:
        line += f',"reason":{quoted(record.reason)}'
    if record.audited:
        line += f',"audited":{quoted(record.audited)}'
    if record.detail:
        line += f',"detail":{quoted(record.detail)}'
    return line + "}"
