"""Whom this pod talks to, counted since the proxy started: the edges of its reports to the directory.

The one rule: memory is bounded whatever arrives. A table holds 512 edges; what comes later is counted under the peer
"other". Plaintext peers are addresses, of which anybody can make many, so they get at most half of the table.
"""

from collections.abc import Callable
from datetime import UTC
from typing import Final

from handfast_sidecar.directory.messages import Edge, Report
from handfast_sidecar.identity.material import Material

MAX_EDGES: Final = 512
MAX_PLAINTEXT_EDGES: Final = MAX_EDGES // 2
MAX_REASONS: Final = 32
"""Per edge: reasons are words of ours, so this is never reached."""
OTHER: Final = "other"

_Key = tuple[str, str, int, bool]


class EdgeCounts:
    """The counts of one edge: look it up once per connection, add to it as often as needed."""

    __slots__ = ("bytes_in", "bytes_out", "connections", "refused")

    def __init__(self) -> None:
        self.connections = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.refused: dict[str, int] = {}

    def refuse(self, reason: str) -> None:
        """Count a refusal by its reason."""
        if reason not in self.refused and len(self.refused) >= MAX_REASONS:
            reason = OTHER
        self.refused[reason] = self.refused.get(reason, 0) + 1


class EdgeTable:
    """All edges of this pod."""

    def __init__(self) -> None:
        self._edges: dict[_Key, EdgeCounts] = {}
        self._folded: dict[_Key, EdgeCounts] = {}
        self._plaintext = 0

    def edge(self, direction: str, peer: str, port: int, *, encrypted: bool) -> EdgeCounts:
        """The counts for a peer (a SPIFFE ID, or an address) at a port; `direction` is `in` or `out`."""
        key = (direction, peer, port, encrypted)
        found = self._edges.get(key)
        if found is not None:
            return found
        if len(self._edges) >= MAX_EDGES or (not encrypted and self._plaintext >= MAX_PLAINTEXT_EDGES):
            return self._folded.setdefault((direction, OTHER, 0, encrypted), EdgeCounts())
        self._plaintext += not encrypted
        return self._edges.setdefault(key, EdgeCounts())

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
            )
            for table in (self._edges, self._folded)
            for (direction, peer, port, encrypted), counts in table.items()
        )


def report(material: Material, revision: int, edges: Callable[[], tuple[Edge, ...]]) -> Report:
    """What the sidecar runs with and whom it talks to, as of now; `revision` is that of the policy in force."""
    return Report(
        serial=material.leaf.serial,
        not_after=material.leaf.not_after.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        bundle=material.fingerprint,
        revision=revision,
        edges=edges(),
    )
