"""Edges between workloads, added up over all their pods. Pure.

The one rule: memory is bounded, and who reports much costs nobody else's edges. A workload's reports make at most
PER_REPORTER of them, and all together MAX_EDGES: what was not seen for longest goes first, and is then part of "other".
What nobody used for a day is forgotten.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from handfast_operator.directory.attribution import OTHER
from handfast_operator.evidence.view import EdgeKey, EdgeView, Party

MAX_EDGES: Final = 20_000
"""About 15 MB, and as much again in the controller."""
PER_REPORTER: Final = 1_024
"""Twice what one sidecar tells of."""
ROOM: Final = 16
"""When there is no room, one in so many goes, so that it is not looked for with each new edge."""
FORGET_S: Final = 24 * 3600.0
RATE_S: Final = 60.0
"""Time constant of the rate: a minute ago counts a third of now."""
MAX_REASONS: Final = 32
"""Of one edge; further ones are "other"."""
MAX_RULE: Final = 400
"""Characters: kind, namespace and name of a policy have fewer."""
_REASON: Final = re.compile(r"[a-z0-9_:.-]{1,64}")
_NONE: Final[Mapping[str, int]] = {}


@dataclass(frozen=True, slots=True)
class Growth:
    """What became more of one edge since the report before."""

    connections: int = 0
    bytes: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    audited: Mapping[str, int] = field(default_factory=dict)
    rule: str = ""
    last: float = 0.0
    """Unix time of its last connection or refusal."""
    carried: float = 0.0
    """Unix time of its last connection that was not refused; 0: there was none."""
    seconds: float = 0.0
    """In how long it grew; 0: not known."""


class _Sums:
    """One edge."""

    __slots__ = (
        "audited",
        "bytes",
        "carried",
        "connections",
        "last_seen",
        "open",
        "rate",
        "rate_at",
        "refused",
        "rule",
        "ruled",
        "shown",
    )

    def __init__(self) -> None:
        self.connections = self.open = self.bytes = 0
        self.refused: Mapping[str, int] = _NONE
        self.audited: Mapping[str, int] = _NONE
        self.rule = ""
        self.last_seen = self.ruled = self.carried = self.rate = self.rate_at = 0.0
        self.shown: EdgeView | None = None

    def view(self, key: EdgeKey, now: float) -> EdgeView:
        """As of now; most edges are at rest, and are the same as before."""
        if self.shown is not None and not self.open and not self.shown.per_second:
            return self.shown
        source, destination, port, encrypted = key
        self.shown = EdgeView(
            source,
            destination,
            port,
            encrypted,
            self.connections,
            self.open,
            self.bytes,
            round(self.rate_now(now), 2),
            self.refused,
            self.audited,
            self.rule,
            now if self.open else self.last_seen,
            now if self.open else self.carried,
        )
        return self.shown

    def add(self, growth: Growth, now: float) -> None:
        self.shown = None
        self.connections += growth.connections
        self.bytes += growth.bytes
        self.refused = _added(self.refused, growth.refused)
        self.audited = _added(self.audited, growth.audited)
        self.carried = max(self.carried, growth.carried)
        self.last_seen = max(self.last_seen, growth.last)
        # Not by `last_seen`: that an open connection was seen is no newer decision than a refusal since it began.
        if growth.last >= self.ruled:
            self.ruled, self.rule = growth.last, growth.rule[:MAX_RULE] or self.rule
        if growth.connections and growth.seconds:
            self.rate = self.rate_now(now) + growth.connections / max(growth.seconds, RATE_S)
            self.rate_at = now

    def rate_now(self, now: float) -> float:
        """Connections a second."""
        return self.rate * math.exp(min(0.0, self.rate_at - now) / RATE_S)

    def fold(self, other: "_Sums") -> None:
        """Take another edge's counts."""
        self.shown = None
        self.connections += other.connections
        self.bytes += other.bytes
        self.refused = _added(self.refused, other.refused)
        self.audited = _added(self.audited, other.audited)
        self.last_seen = max(self.last_seen, other.last_seen)
        self.carried = max(self.carried, other.carried)


class Edges:
    """All edges that this replica knows."""

    def __init__(self, limit: int = MAX_EDGES, per_reporter: int = PER_REPORTER) -> None:
        self._limit, self._per_reporter = limit, per_reporter
        self._by_reporter: dict[tuple[str, str], dict[EdgeKey, _Sums]] = {}
        """By namespace and name of the workload whose sidecars told of them."""
        self._folded: dict[EdgeKey, _Sums] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, reporter: Party, key: EdgeKey, growth: Growth, now: float) -> None:
        """Count what a workload's sidecar reports of an edge."""
        name = (reporter.namespace, reporter.name)
        mine = self._by_reporter.setdefault(name, {})
        sums = mine.get(key)
        if sums is None:
            if len(mine) >= self._per_reporter:
                self._make_room([name], self._per_reporter)
            if self._count >= self._limit:
                self._make_room(list(self._by_reporter), self._limit)
            # Making room may have left nothing of this reporter's.
            mine = self._by_reporter.setdefault(name, {})
            sums = mine[key] = _Sums()
            self._count += 1
        sums.add(growth, now)

    def opened(self, reporter: Party, key: EdgeKey, more: int, now: float) -> None:
        """Of its open connections there are more, or fewer where it is negative, than before."""
        sums = self._by_reporter.get((reporter.namespace, reporter.name), {}).get(key)
        if sums is not None:
            sums.open = max(0, sums.open + more)
            sums.shown = None
            sums.last_seen = max(sums.last_seen, now)
            sums.carried = sums.last_seen

    def sweep(self, now: float) -> None:
        """Forget what nobody used for a day."""
        old = now - FORGET_S
        for name, edges in list(self._by_reporter.items()):
            for key in [key for key, sums in edges.items() if not sums.open and sums.last_seen < old]:
                self._drop(name, key)
        self._folded = {key: sums for key, sums in self._folded.items() if sums.last_seen >= old}

    def views(self, now: float) -> Iterator[EdgeView]:
        """As of now (Unix time)."""
        for edges in (*self._by_reporter.values(), self._folded):
            for key, sums in edges.items():
                yield sums.view(key, now)

    def _make_room(self, reporters: Iterable[tuple[str, str]], limit: int) -> None:
        """Fold a part of these reporters' edges: those with open connections last, then by when they were seen."""
        ages = sorted(
            ((sums.open > 0, sums.last_seen, name, key) for name in reporters for key, sums in self._edges_of(name)),
            key=lambda each: each[:2],
        )
        for _, _, name, key in ages[: max(1, limit // ROOM)]:
            sums = self._drop(name, key)
            self._folded.setdefault((OTHER, OTHER, 0, key[3]), _Sums()).fold(sums)

    def _edges_of(self, name: tuple[str, str]) -> Iterable[tuple[EdgeKey, _Sums]]:
        return self._by_reporter.get(name, {}).items()

    def _drop(self, name: tuple[str, str], key: EdgeKey) -> _Sums:
        edges = self._by_reporter[name]
        sums = edges.pop(key)
        self._count -= 1
        if not edges:
            del self._by_reporter[name]
        return sums


def _added(known: Mapping[str, int], growth: Mapping[str, int]) -> Mapping[str, int]:
    """A new mapping, as views hold the old one."""
    if not growth:
        return known
    counts = dict(known)
    for given, count in growth.items():
        reason = given if _REASON.fullmatch(given) and (given in counts or len(counts) < MAX_REASONS) else OTHER.name
        counts[reason] = counts.get(reason, 0) + count
    return counts
