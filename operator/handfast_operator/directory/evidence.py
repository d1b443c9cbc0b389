"""What sidecars last reported about themselves, by the pod UID in their leaf: a sidecar can only speak for itself."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from handfast_operator.directory.session import Peer
from handfast_sidecar.directory.codec import edge_to_json
from handfast_sidecar.directory.messages import Report

MAX_PODS: Final = 20_000
"""Reports kept; a replica is meant for 10,000 sidecars, and those of ended pods leave with them."""


@dataclass(frozen=True, slots=True)
class Testimony:
    """A report, whose it is, and when it came (Unix time)."""

    peer: Peer
    report: Report
    at: float


class Evidence:
    """The last report of each pod that spoke to this replica."""

    def __init__(self, limit: int = MAX_PODS, clock: Callable[[], float] = time.time) -> None:
        self._by_uid: OrderedDict[str, Testimony] = OrderedDict()
        self._limit = limit
        self._clock = clock

    def __len__(self) -> int:
        return len(self._by_uid)

    def take(self, peer: Peer, report: Report) -> None:
        """Keep a report in place of the pod's last one."""
        self._by_uid[peer.uid] = Testimony(peer, report, self._clock())
        self._by_uid.move_to_end(peer.uid)
        while len(self._by_uid) > self._limit:
            self._by_uid.popitem(last=False)

    def forget(self, uid: str) -> None:
        """The pod is gone from the API server."""
        self._by_uid.pop(uid, None)

    def of(self, uid: str) -> Testimony | None:
        return self._by_uid.get(uid)

    def totals(self) -> Mapping[tuple[str, bool], int]:
        """Connections by direction and whether they were encrypted, over all pods: labels that never grow."""
        totals = {(direction, encrypted): 0 for direction in ("in", "out") for encrypted in (True, False)}
        for each in self._by_uid.values():
            for edge in each.report.edges:
                if (edge.direction, edge.encrypted) in totals:
                    totals[edge.direction, edge.encrypted] += edge.connections
        return totals

    def total(self, direction: str, encrypted: bool) -> int:
        """One of the totals."""
        return self.totals()[direction, encrypted]

    def to_json(self) -> dict[str, Any]:
        """As served at /evidence (docs/protocol.md, "evidence")."""
        return {"version": 1, "pods": {uid: _to_json(each) for uid, each in self._by_uid.items()}}


def _to_json(each: Testimony) -> dict[str, Any]:
    report = each.report
    return {
        "pod": each.peer.pod,
        "identity": str(each.peer.identity),
        "at": round(each.at, 3),
        "serial": report.serial,
        "notAfter": report.not_after,
        "bundle": report.bundle,
        "revision": report.revision,
        "edges": [edge_to_json(edge) for edge in report.edges],
    }
