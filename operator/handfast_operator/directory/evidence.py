"""What sidecars report, taken in: what each of them runs with, and whom it talked to, added up over pods and runs.

A sidecar's counts begin with its proxy. Here only what they grew by is added, so that an edge outlives the pods it
was seen by, and each connection is counted once (docs/protocol.md, "evidence"):

- counts of another run of the proxy, or of its first report, are all news;
- a replica that does not know the run yet is first told, as `repeated`, what was told to others: it begins there;
- what still cannot be compared with anything is where this replica begins: it shows that an edge is, not how much.

Who may say what of an edge is settled in `directory.attribution`. A sidecar speaks for the pod of its leaf alone.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from handfast_operator.directory.attribution import Attributed, Attribution
from handfast_operator.directory.edges import Edges, Growth
from handfast_operator.directory.session import Peer
from handfast_operator.evidence.view import EvidenceView, Party, PodReport
from handfast_sidecar.directory.messages import Edge, Report

MAX_PODS: Final = 20_000
"""Reports kept; a replica is meant for 10,000 sidecars, and those of ended pods leave with them."""
EDGES_PER_POD: Final = 1_024
"""Of one run; a sidecar tells of half as many."""
MAX_TOLD: Final = 250_000
"""Edges of all pods that reports are compared with, each about half a KB: the pods that were silent for longest make
room, and begin anew."""
SWEEP_S: Final = 300.0
_FIRST: Final = 1
_NONE: Final[Mapping[str, int]] = {}
_Id = tuple[str, str, int, bool, bool]


@dataclass(slots=True)
class _Reporter:
    """One pod, as far as it has told."""

    party: Party
    report: PodReport
    run: str = ""
    number: int = 0
    uncounted: int = 0
    """The number of the report that this replica begins with; -1: it has begun."""
    counted_at: float = 0.0
    told: dict[_Id, Edge] = field(default_factory=dict)
    open_at: dict[_Id, Attributed] = field(default_factory=dict)
    """Where open connections are counted: an address may be somebody else's when they end."""


class Evidence:
    """All that the pods of this replica said."""

    def __init__(
        self,
        attribution: Attribution,
        replica: str = "",
        *,
        edges: Edges | None = None,
        max_pods: int = MAX_PODS,
        max_told: int = MAX_TOLD,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`replica` is the name of the directory's own pod; `clock` is Unix time."""
        self._attribution = attribution
        self._replica = replica
        self._edges = edges if edges is not None else Edges()
        self._max_pods, self._max_told = max_pods, max_told
        self._clock = clock
        self.moved: Callable[[], None] = lambda: None
        """Called when a pod trusts others, or needs others, than it said before: a rotation may wait for it."""
        self._pods: OrderedDict[str, _Reporter] = OrderedDict()
        """By UID, the one that was silent for longest first."""
        self._told = 0
        self._swept_at = clock()
        self._totals = {(direction, encrypted): 0 for direction in ("in", "out") for encrypted in (True, False)}

    def __len__(self) -> int:
        """Pods that reported."""
        return len(self._pods)

    @property
    def edges(self) -> int:
        """How many are known."""
        return len(self._edges)

    def take(self, peer: Peer, report: Report) -> None:
        """A report, or a line of one."""
        now = self._clock()
        party = self._attribution.reporter(peer.uid, peer.identity)
        if party is None:
            return  # the pod went while its report was on its way
        pod = self._pods.get(peer.uid)
        if pod is None:
            pod = self._pods[peer.uid] = _Reporter(party, _said(peer, report, now), uncounted=-1)
            self._begin(pod, report, now)
        elif report.run != pod.run:
            self._begin(pod, report, now)
        elif report.number < pod.number:
            return  # of an older stream, overtaken by a newer one
        self._pods.move_to_end(peer.uid)
        pod.party, pod.number = party, report.number
        if report.repeated:
            for edge in report.edges:
                self._raise(pod, edge, now)
        else:
            before, pod.report = pod.report, _said(peer, report, now)
            self._count(pod, report, now)
            if (before.bundle, before.issuers) != (pod.report.bundle, pod.report.issuers):
                self.moved()
        self._keep_bounds(now)

    def silent(self, uid: str) -> None:
        """The pod has no session any more: of what it has open another replica is told, or nobody."""
        pod = self._pods.get(uid)
        if pod is not None:
            self._close(pod, self._clock())

    def forget(self, uid: str) -> None:
        """The pod is gone from the API server; what it said of edges stays."""
        pod = self._pods.pop(uid, None)
        if pod is not None:
            self._close(pod, self._clock())
            self._told -= len(pod.told)

    def of(self, uid: str) -> PodReport | None:
        """What a pod last said of itself."""
        pod = self._pods.get(uid)
        return pod.report if pod is not None else None

    def view(self) -> EvidenceView:
        """All of it, as of now."""
        now = self._clock()
        pods = {uid: each.report for uid, each in self._pods.items()}
        return EvidenceView(now, tuple(self._edges.views(now)), pods, {self._replica: now})

    def total(self, direction: str, encrypted: bool) -> int:
        """Connections that were reported to this replica: labels that never grow."""
        return self._totals[direction, encrypted]

    # --- one report

    def _begin(self, pod: _Reporter, report: Report, now: float) -> None:
        """With a run that we hear of for the first time."""
        self._close(pod, now)
        self._told -= len(pod.told)
        pod.told = {}
        pod.run, pod.number, pod.counted_at = report.run, 0, 0.0
        all_news = report.number == _FIRST and not report.repeated
        pod.uncounted = -1 if all_news else report.number

    def _raise(self, pod: _Reporter, edge: Edge, now: float) -> None:
        """What another replica has counted is not counted here."""
        name = _id(edge)
        before = pod.told.get(name)
        if before is None:
            if len(pod.told) < EDGES_PER_POD:
                self._add(pod, self._attribution.of(pod.party, edge), _seen(edge, now), now)
                pod.told[name] = replace(edge, open=0)
                self._told += 1
        elif before.connections <= edge.connections:
            pod.told[name] = replace(edge, open=before.open)

    def _count(self, pod: _Reporter, report: Report, now: float) -> None:
        counted = report.number != pod.uncounted
        seconds = now - pod.counted_at if counted and pod.counted_at else 0.0
        for edge in report.edges:
            name = _id(edge)
            before = pod.told.get(name)
            if before == edge or (before is None and len(pod.told) >= EDGES_PER_POD):
                continue
            where = self._attribution.of(pod.party, edge)
            if before is None and not counted:
                growth = _seen(edge, now)
            else:
                growth = _growth(before, edge, now, seconds)
                self._totals_add(edge, growth)
            self._add(pod, where, growth, now)
            self._opened(pod, name, edge.open, where, now)
            pod.told[name] = edge
            self._told += before is None
        pod.counted_at = now
        if not report.run:
            pod.uncounted = -1

    def _totals_add(self, edge: Edge, growth: Growth) -> None:
        if (edge.direction, edge.encrypted) in self._totals:
            self._totals[edge.direction, edge.encrypted] += growth.connections

    def _add(self, pod: _Reporter, where: Attributed | None, growth: Growth, now: float) -> None:
        if where is None:
            return
        if where.refusals_only:
            if not (growth.refused or growth.audited):
                return
            growth = replace(growth, connections=0, bytes=0, carried=0.0)
        self._edges.add(pod.party, where.key, growth, now)

    def _opened(self, pod: _Reporter, name: _Id, count: int, where: Attributed | None, now: float) -> None:
        """So many connections of an edge are open now."""
        earlier = pod.open_at.pop(name, None)
        known = pod.told[name].open if earlier is not None else 0
        if earlier is not None and earlier != where:
            self._edges.opened(pod.party, earlier.key, -known, now)
            known = 0
        if where is not None and not where.refusals_only:
            if count != known:
                self._edges.opened(pod.party, where.key, count - known, now)
            if count:
                pod.open_at[name] = where

    def _close(self, pod: _Reporter, now: float) -> None:
        for name in list(pod.open_at):
            self._opened(pod, name, 0, None, now)
            pod.told[name] = replace(pod.told[name], open=0)

    def _keep_bounds(self, now: float) -> None:
        while len(self._pods) > self._max_pods:
            self.forget(next(iter(self._pods)))
        if self._told > self._max_told:
            for pod in self._pods.values():
                self._close(pod, now)
                self._told -= len(pod.told)
                pod.told, pod.run, pod.uncounted = {}, "", 0
                if self._told <= self._max_told:
                    break
        if now - self._swept_at > SWEEP_S:
            self._swept_at = now
            self._edges.sweep(now)


def _id(edge: Edge) -> _Id:
    return (edge.direction, edge.peer, edge.port, edge.encrypted, edge.foreign)


def _said(peer: Peer, report: Report, now: float) -> PodReport:
    return PodReport(
        peer.pod,
        str(peer.identity),
        now,
        report.serial,
        report.not_after,
        report.bundle,
        report.revision,
        report.issuers,
        report.not_before,
    )


def _seen(edge: Edge, now: float) -> Growth:
    """That there is such an edge."""
    last = min(edge.last, now)
    return Growth(rule=edge.rule, last=last, carried=last if edge.connections else 0.0)


def _growth(before: Edge | None, edge: Edge, now: float, seconds: float) -> Growth:
    if before is None or before.connections > edge.connections:
        # Only a proxy that does not name its runs begins anew without saying so.
        before = Edge(edge.direction, edge.peer, edge.port, edge.encrypted)
    refused, audited = _more(before.refused, edge.refused), _more(before.audited, edge.audited)
    connections = edge.connections - before.connections
    # A proxy that does not tell when has told of something since the report before.
    last = min(edge.last or now, now) if connections or refused else min(edge.last, now)
    return Growth(
        connections=connections,
        bytes=max(0, edge.bytes_in + edge.bytes_out - before.bytes_in - before.bytes_out),
        refused=refused,
        audited=audited,
        rule=edge.rule,
        last=last,
        carried=last if connections else 0.0,
        seconds=seconds,
    )


def _more(before: Mapping[str, int], now: Mapping[str, int]) -> Mapping[str, int]:
    if not now or now == before:
        return _NONE
    grown = {reason: count - before.get(reason, 0) for reason, count in now.items()}
    return {reason: count for reason, count in grown.items() if count > 0}
