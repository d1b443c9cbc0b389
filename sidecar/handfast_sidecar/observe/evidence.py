"""Whom this pod talks to, counted since the proxy started: the edges of its reports to the directory.

The one rule: memory is bounded whatever arrives. A table holds 512 edges; what comes later is counted under the peer
"other". Plaintext peers are addresses, of which anybody can make many, so they get at most half of the table. When
there was no room, what nobody used for a day makes some: clients of a pod that lives for months come and go.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from handfast_sidecar.directory.messages import Edge, Report
from handfast_sidecar.identity.material import Material

MAX_EDGES: Final = 512
MAX_PLAINTEXT_EDGES: Final = MAX_EDGES // 2
FORGET_S: Final = 24 * 3600.0
"""As long as the directory remembers an edge that nobody uses."""
ROOM_EVERY_S: Final = 3600.0
"""Room is made no more often: for the directory all that is still told begins anew with it (`directory.reporting`)."""
MAX_REASONS: Final = 32
"""Per edge: reasons are words of ours, so this is never reached."""
OTHER: Final = "other"

_Key = tuple[str, str, int, bool, bool]


class EdgeCounts:
    """The counts of one edge: look it up once per connection, add to it as often as needed."""

    __slots__ = ("audited", "bytes_in", "bytes_out", "connections", "last", "open", "refused", "rule")

    def __init__(self) -> None:
        self.connections = self.open = 0
        self.bytes_in = self.bytes_out = 0
        self.last = 0.0
        self.rule = ""
        self.refused: dict[str, int] = {}
        self.audited: dict[str, int] = {}

    def opened(self, now: float, rule: str = "", audited: str = "") -> None:
        """A connection began, at this Unix time; `audited`: why it would have been refused."""
        self.connections += 1
        self.open += 1
        self.last = now
        if rule:
            self.rule = rule
        if audited:
            self.audit(audited)

    def audit(self, reason: str) -> None:
        """Count what would have been refused, by its reason."""
        _add(self.audited, reason)

    def closed(self, now: float, bytes_in: int, bytes_out: int) -> None:
        """One that had begun ended: until then the edge was in use."""
        self.open -= 1
        self.last = now
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out

    def refuse(self, reason: str, now: float, rule: str = "") -> None:
        """Count a refusal by its reason."""
        self.last = now
        if rule:
            self.rule = rule
        _add(self.refused, reason)


class EdgeTable:
    """All edges of this pod."""

    def __init__(self) -> None:
        self._edges: dict[_Key, EdgeCounts] = {}
        self._folded: dict[_Key, EdgeCounts] = {}
        self._plaintext = 0
        self._crowded = False
        """Whether an edge was not found room for."""
        self._room_made_at = -math.inf

    def edge(self, direction: str, peer: str, port: int, *, encrypted: bool, foreign: bool = False) -> EdgeCounts:
        """The counts for a peer (a SPIFFE ID, or an address) at a port; `direction` is `in` or `out`, `foreign` as in
        `Edge`."""
        key = (direction, peer, port, encrypted, foreign)
        found = self._edges.get(key)
        if found is not None:
            return found
        if len(self._edges) >= MAX_EDGES or (not encrypted and self._plaintext >= MAX_PLAINTEXT_EDGES):
            self._crowded = True
            return self._folded.setdefault((direction, OTHER, 0, encrypted, foreign), EdgeCounts())
        self._plaintext += not encrypted
        return self._edges.setdefault(key, EdgeCounts())

    def make_room(self, now: float) -> bool:
        """Forget what nobody used for a day before now (Unix time), where there was no room; whether anything was."""
        if not self._crowded or abs(now - self._room_made_at) < ROOM_EVERY_S:
            return False
        kept = _used_since(self._edges, now - FORGET_S)
        if len(kept) == len(self._edges):
            return False
        self._edges, self._folded = kept, _used_since(self._folded, now - FORGET_S)
        self._plaintext = sum(not encrypted for _, _, _, encrypted, _ in kept)
        self._crowded, self._room_made_at = False, now
        return True

    def edges(self) -> tuple[Edge, ...]:
        """A snapshot for a report."""
        return tuple(
            Edge(
                direction=direction,
                peer=peer,
                port=port,
                encrypted=encrypted,
                connections=counts.connections,
                bytes_in=counts.bytes_in,
                bytes_out=counts.bytes_out,
                refused=dict(counts.refused),
                open=counts.open,
                last=round(counts.last, 3),
                audited=dict(counts.audited),
                rule=counts.rule,
                foreign=foreign,
            )
            for table in (self._edges, self._folded)
            for (direction, peer, port, encrypted, foreign), counts in table.items()
        )


def _used_since(edges: dict[_Key, EdgeCounts], moment: float) -> dict[_Key, EdgeCounts]:
    return {key: counts for key, counts in edges.items() if counts.open or counts.last >= moment}


def _add(counts: dict[str, int], reason: str) -> None:
    if reason not in counts and len(counts) >= MAX_REASONS:
        reason = OTHER
    counts[reason] = counts.get(reason, 0) + 1


def report(
    material: Material, revision: int, edges: Callable[[], tuple[Edge, ...]], issuers: tuple[str, ...]
) -> Report:
    """What the sidecar runs with and whom it talks to, as of now.

    revision  that of the policy in force
    issuers   whose signatures it needs: see `tunnel.resting`
    """
    return Report(
        serial=material.leaf.serial,
        not_after=_text(material.leaf.not_after),
        bundle=material.fingerprint,
        revision=revision,
        edges=edges(),
        issuers=issuers,
        not_before=_text(material.leaf.not_before),
    )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
