"""Evidence as it is read: edges between workloads, and what each sidecar runs with. Pure; JSON at its border.

Each replica of the directory knows the sidecars that are connected to it. Their views are merged here, for the
controller and for `handfast edges` alike.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from handfast_sidecar import __version__
from handfast_sidecar.errors import BadInput

VERSION: Final = 2
UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading JSON of another form raises."""


@dataclass(frozen=True, slots=True, order=True)
class Party:
    """One end of an edge."""

    namespace: str = ""
    """Empty: outside of the cluster, or unknown."""
    name: str = ""
    """A workload such as `deployment/cart`, or `serviceaccount/cart` where only the identity is known, else an
    address."""
    identity: str = ""
    """The SPIFFE ID that it proved; empty: none was asked for."""


EdgeKey = tuple[Party, Party, int, bool]
"""Source, destination, port, and whether it was encrypted."""


@dataclass(frozen=True, slots=True)
class EdgeView:
    """Traffic from one workload to another at one port, over all their pods, since the evidence began."""

    source: Party
    destination: Party
    port: int
    """The container's port where the destination is a pod, else as it was dialled."""
    encrypted: bool
    connections: int = 0
    open: int = 0
    """Connections of now."""
    bytes: int = 0
    """Both ways."""
    per_second: float = 0.0
    """New connections a second, over about the last minute."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """By reason."""
    audited: Mapping[str, int] = field(default_factory=dict)
    """What would have been refused, by reason."""
    rule: str = ""
    """The object that decided last, such as `MTLSPolicy shop/orders`."""
    last_seen: float = 0.0
    """Unix time of the last connection or refusal; open ones are seen now."""
    last_carried: float = 0.0
    """The same without refusals; 0: nothing was carried. It may be known where `connections` is 0: of what was carried
    before a replica of the directory began."""

    @property
    def key(self) -> "EdgeKey":
        """What makes two the same edge."""
        return (self.source, self.destination, self.port, self.encrypted)


@dataclass(frozen=True, slots=True)
class PodReport:
    """What one sidecar last said of itself."""

    pod: str
    """namespace/name."""
    identity: str
    at: float
    """Unix time of the report."""
    serial: str
    """Of its leaf, hexadecimal."""
    not_after: str
    """RFC 3339."""
    bundle: str
    """Fingerprint of the bundle that it trusts."""
    revision: int
    """Of the policy in force."""
    issuers: tuple[str, ...] = ()
    """Authority key identifiers, hexadecimal, of all leaves that it needs (`directory.messages.Report.issuers`)."""
    not_before: str = ""
    """RFC 3339; empty: not told."""


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """What is known at one time (Unix)."""

    at: float
    edges: tuple[EdgeView, ...] = ()
    pods: Mapping[str, PodReport] = field(default_factory=dict)
    """By UID."""
    replicas: Mapping[str, float] = field(default_factory=dict)
    """The directory's replicas that it is made of, by the names of their pods, each with the Unix time of what it last
    said: one that fell silent is still part of it for a minute, without its open connections."""


def merge(views: Iterable[EvidenceView]) -> EvidenceView:
    """One view of all replicas: counts add up, of a pod that moved between them the newest report holds."""
    edges: dict[EdgeKey, EdgeView] = {}
    pods: dict[str, PodReport] = {}
    replicas: dict[str, float] = {}
    at = 0.0
    for view in views:
        at = max(at, view.at)
        for edge in view.edges:
            known = edges.get(edge.key)
            edges[edge.key] = edge if known is None else _sum(known, edge)
        for uid, report in view.pods.items():
            if uid not in pods or pods[uid].at < report.at:
                pods[uid] = report
        for name, heard in view.replicas.items():
            replicas[name] = max(heard, replicas.get(name, 0.0))
    return EvidenceView(at, tuple(edges.values()), pods, replicas)


def _sum(one: EdgeView, other: EdgeView) -> EdgeView:
    later = max(one, other, key=lambda each: each.last_seen)
    return replace(
        one,
        connections=one.connections + other.connections,
        open=one.open + other.open,
        bytes=one.bytes + other.bytes,
        per_second=one.per_second + other.per_second,
        refused=_added(one.refused, other.refused),
        audited=_added(one.audited, other.audited),
        rule=later.rule,
        last_seen=later.last_seen,
        last_carried=max(one.last_carried, other.last_carried),
    )


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {reason: one.get(reason, 0) + other.get(reason, 0) for reason in {**one, **other}}


def to_json(view: EvidenceView) -> dict[str, Any]:
    """As a directory serves it (docs/protocol.md, "evidence")."""
    return {
        "version": VERSION,
        "at": round(view.at, 3),
        "edges": [edge_to_json(each) for each in view.edges],
        "pods": {uid: report_to_json(each) for uid, each in view.pods.items()},
        "replicas": {name: round(heard, 3) for name, heard in view.replicas.items()},
    }


def from_json(document: Any) -> EvidenceView:
    """Read what `to_json` wrote; raises BadInput where it cannot be read."""
    try:
        check_version(document["version"])
        return EvidenceView(
            float(document["at"]),
            tuple(map(edge_from_json, document["edges"])),
            {uid: report_from_json(each) for uid, each in document["pods"].items()},
            {str(name): float(heard) for name, heard in document.get("replicas", {}).items()},
        )
    except UNREADABLE as error:
        raise BadInput(f"unreadable evidence: {type(error).__name__}: {error}") from error


def check_version(told: object) -> None:
    """Whether evidence of this version can be read. Raises BadInput: who is too old, and what to do."""
    if told != VERSION:
        old = "reader" if isinstance(told, int) and told > VERSION else "directory"
        raise BadInput(
            f"the directory tells evidence of version {told!r}, and version {VERSION} is read here, by Handfast"
            f" {__version__}: the {old} is too old: finish the upgrade, so that both are of one version"
        )


def edge_to_json(edge: EdgeView) -> dict[str, Any]:
    """An edge of a view."""
    return {
        "source": party_to_json(edge.source),
        "destination": party_to_json(edge.destination),
        "port": edge.port,
        "encrypted": edge.encrypted,
        "connections": edge.connections,
        "open": edge.open,
        "bytes": edge.bytes,
        "perSecond": round(edge.per_second, 3),
        "refused": dict(edge.refused),
        "audited": dict(edge.audited),
        "rule": edge.rule,
        "lastSeen": round(edge.last_seen, 3),
        "lastCarried": round(edge.last_carried, 3),
    }


def edge_from_json(document: Mapping[str, Any]) -> EdgeView:
    """The inverse. Raises KeyError, TypeError, ValueError and AttributeError."""
    return EdgeView(
        party_from_json(document["source"]),
        party_from_json(document["destination"]),
        int(document["port"]),
        bool(document["encrypted"]),
        int(document["connections"]),
        int(document["open"]),
        int(document["bytes"]),
        float(document["perSecond"]),
        {str(reason): int(count) for reason, count in document["refused"].items()},
        {str(reason): int(count) for reason, count in document["audited"].items()},
        str(document["rule"]),
        float(document["lastSeen"]),
        float(document.get("lastCarried", 0.0)),
    )


def party_to_json(party: Party) -> dict[str, str]:
    """An end of an edge."""
    return {"namespace": party.namespace, "name": party.name, "identity": party.identity}


def party_from_json(document: Mapping[str, Any]) -> Party:
    """The inverse. Raises KeyError and TypeError."""
    return Party(str(document["namespace"]), str(document["name"]), str(document["identity"]))


def report_to_json(report: PodReport) -> dict[str, Any]:
    """What a sidecar said of itself."""
    return {
        "pod": report.pod,
        "identity": report.identity,
        "at": round(report.at, 3),
        "serial": report.serial,
        "notAfter": report.not_after,
        "bundle": report.bundle,
        "revision": report.revision,
        **({"issuers": list(report.issuers)} if report.issuers else {}),
        **({"notBefore": report.not_before} if report.not_before else {}),
    }


def report_from_json(document: Mapping[str, Any]) -> PodReport:
    """The inverse. Raises KeyError, TypeError and ValueError."""
    return PodReport(
        str(document["pod"]),
        str(document["identity"]),
        float(document["at"]),
        str(document["serial"]),
        str(document["notAfter"]),
        str(document["bundle"]),
        int(document["revision"]),
        tuple(map(str, document.get("issuers", ()))),
        str(document.get("notBefore", "")),
    )
