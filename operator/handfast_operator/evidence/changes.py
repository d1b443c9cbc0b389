"""One replica's view to the controller, line by line: all of it first, then what changed. Pure, both sides.

The one rule: a view is only ever whole. What came since the last line without `more` is not part of it yet.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from handfast_operator.evidence.view import (
    UNREADABLE,
    VERSION,
    EdgeKey,
    EdgeView,
    EvidenceView,
    PodReport,
    check_version,
    edge_from_json,
    edge_to_json,
    party_from_json,
    party_to_json,
    report_from_json,
    report_to_json,
)
from handfast_sidecar.errors import BadInput

PORTION: Final = 100
"""Edges, and pods, of one line."""
MAX_LINE: Final = 4 << 20
"""Bytes: a portion of edges whose names and reasons are all as long as the directory lets them be is far below."""
MAX_EDGES: Final = 100_000
"""Of one replica, and as many pods: several times what a replica keeps."""


class Telling:
    """What the other side knows: the directory's end."""

    def __init__(self) -> None:
        self._edges: dict[EdgeKey, EdgeView] = {}
        self._pods: dict[str, PodReport] = {}

    def lines(self, view: EvidenceView) -> Iterator[bytes]:
        """What changed since the view before; at least one line, which is then a sign of life."""
        # An open connection is seen now, at any time: that alone is no change.
        edges = {edge.key: _seen(edge, 0.0) for edge in view.edges}
        changed = [edge for key, edge in edges.items() if (old := self._edges.get(key)) is not edge and old != edge]
        told = [(uid, each) for uid, each in view.pods.items() if self._pods.get(uid) != each]
        gone = [key for key in self._edges if key not in edges]
        gone_pods = [uid for uid in self._pods if uid not in view.pods]
        self._edges, self._pods = edges, dict(view.pods)
        portions = range(0, max(len(changed), len(told), len(gone), len(gone_pods), 1), PORTION)
        for at in portions:
            part = slice(at, at + PORTION)
            document: dict[str, Any] = {"version": VERSION, "at": round(view.at, 3)}
            fields = {
                "edges": [edge_to_json(each) for each in changed[part]],
                "pods": {uid: report_to_json(each) for uid, each in told[part]},
                "goneEdges": [_key_to_json(each) for each in gone[part]],
                "gonePods": gone_pods[part],
            }
            document |= {name: value for name, value in fields.items() if value}
            if at != portions[-1]:
                document["more"] = True
            yield json.dumps(document, separators=(",", ":")).encode() + b"\n"


class Hearing:
    """What was told: the controller's end."""

    def __init__(self, replica: str) -> None:
        """`replica` is the name of the pod that tells."""
        self._replica = replica
        self._edges: dict[EdgeKey, EdgeView] = {}
        self._pods: dict[str, PodReport] = {}

    def take(self, line: bytes) -> EvidenceView | None:
        """The new view, when the line completes one. Raises BadInput for what is no line of this protocol."""
        try:
            document = json.loads(line)
            check_version(document["version"])
            at = float(document["at"])
            for each in document.get("edges", ()):
                edge = edge_from_json(each)
                self._edges[edge.key] = edge
            for each in document.get("goneEdges", ()):
                self._edges.pop(_key_from_json(each), None)
            for uid, each in document.get("pods", {}).items():
                self._pods[uid] = report_from_json(each)
            for uid in document.get("gonePods", ()):
                self._pods.pop(uid, None)
        except (*UNREADABLE, RecursionError) as error:
            raise BadInput(f"unreadable evidence: {type(error).__name__}: {error}") from error
        if max(len(self._edges), len(self._pods)) > MAX_EDGES:
            raise BadInput(f"evidence of more than {MAX_EDGES} edges or pods")
        if document.get("more") is True:
            return None
        edges = tuple(_seen(edge, at) for edge in self._edges.values())
        return EvidenceView(at, edges, dict(self._pods), {self._replica: at})


def _seen(edge: EdgeView, at: float) -> EdgeView:
    """An edge with open connections is seen at this time."""
    return replace(edge, last_seen=at, last_carried=at) if edge.open else edge


def _key_to_json(key: EdgeKey) -> dict[str, Any]:
    source, destination, port, encrypted = key
    return {
        "source": party_to_json(source),
        "destination": party_to_json(destination),
        "port": port,
        "encrypted": encrypted,
    }


def _key_from_json(document: dict[str, Any]) -> EdgeKey:
    return (
        party_from_json(document["source"]),
        party_from_json(document["destination"]),
        int(document["port"]),
        bool(document["encrypted"]),
    )
