"""All live sessions of this replica: begun, kept alive, told of changes by `pushes`, and ended with a reason."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from handfast_operator import metrics
from handfast_operator.cluster.objects import Node, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.directory.connection import Connection
from handfast_operator.directory.evidence import Evidence
from handfast_operator.directory.index import AddressIndex, Policies
from handfast_operator.directory.lost_history import Current, LostHistory
from handfast_operator.directory.pushes import Pushes
from handfast_operator.directory.session import Peer, Session, SessionEnded
from handfast_operator.directory.withheld import Withheld
from handfast_sidecar.directory.messages import ALIVE_EVERY_S, Report
from handfast_sidecar.identity.revocation import Revocations
from handfast_sidecar.observe.metrics import Registry

LOOK_AGAIN_S: Final = 0.5
"""Seconds over which sessions are ended together: their sidecars all come back."""
SESSIONS_PER_POD: Final = 3
"""A sidecar has one, and two while it reconnects; the oldest of more makes room."""

log = logging.getLogger(__name__)


class Switchboard:
    """Sessions, and the index they are answered from."""

    def __init__(
        self,
        pods: Store[Pod],
        policies: Policies,
        *,
        index: AddressIndex,
        evidence: Evidence,
        registry: Registry,
        nodes: Store[Node] | None = None,
        revoked: Callable[[], Revocations] = Revocations,
        fresh: Callable[[], bool] = lambda: True,
        siblings_know_more: Callable[[], bool] = lambda: True,
        current: Current | None = None,
    ) -> None:
        """`current` asks the API server for its revision; without it no sidecar is taken for one of a lost history."""
        self.cluster_ranges: tuple[str, ...] = ()
        """Sent to every sidecar that connects."""
        self._fresh = fresh
        self._siblings_know_more = siblings_know_more
        self._withheld = Withheld(index, lambda: self.cluster_ranges)
        self.objection: Callable[[Peer], SessionEnded | None] = lambda _peer: None
        """What there is now against a sidecar that proved who it is."""
        self._evidence = evidence
        self._connections: dict[Session, Connection] = {}
        self._slots: tuple[set[Connection], ...] = tuple(set() for _ in range(ALIVE_EVERY_S))
        self._next_slot = 0
        self._by_uid: dict[str, list[Connection]] = {}
        nodes = nodes if nodes is not None else Store[Node]()
        self._pushes = Pushes(
            self._connections,
            self._by_uid,
            index=index,
            policies=policies,
            nodes=nodes,
            withheld=self._withheld,
            revoked=revoked,
            parting=self.look_again,
            pushed=metrics.PUSHES.of(registry).inc,
        )
        self._lost = LostHistory(lambda: policies.revision, current, self._pushes.tell_policy) if current else None
        self.index = index
        index.changed = self._pushes.addresses_changed
        pods.subscribe(self._pod_changed)
        policies.subscribe(self._pushes.policy_changed)
        nodes.subscribe(self._pushes.node_changed)
        self._ended_total = metrics.SESSIONS_ENDED.of(registry)
        metrics.SESSIONS.of(registry).set_function(lambda: len(self._connections))
        metrics.WATCHED.of(registry).set_function(lambda: len(self._pushes.subscriptions))

    def __len__(self) -> int:
        """Live sessions."""
        return len(self._connections)

    def begin(self, connection: Connection, peer: Peer, seconds_left: float) -> None:
        """Start the session of a sidecar that proved who it is."""
        session = Session(
            peer,
            self._pushes.subscriptions,
            self._pushes.policy_of,
            self._take,
            self.cluster_ranges,
            place=self._pushes.place_of,
            revoked=lambda: self._pushes.revoked_line,
        )
        self._connections[session] = connection
        self._slots[len(self._connections) % ALIVE_EVERY_S].add(connection)
        siblings = self._by_uid.setdefault(peer.uid, [])
        siblings.append(connection)
        connection.begin(session, seconds_left)
        for older in siblings[:-SESSIONS_PER_POD]:
            older.end(SessionEnded("replaced", f"the pod opened more than {SESSIONS_PER_POD} sessions"))

    def ended(self, connection: Connection, reason: SessionEnded) -> None:
        """Forget a session; what a refused connection never had is no error."""
        session = connection.session
        del self._connections[session]
        for slot in self._slots:
            slot.discard(connection)
        siblings = self._by_uid[session.peer.uid]
        siblings.remove(connection)
        if not siblings:
            del self._by_uid[session.peer.uid]
            self._evidence.silent(session.peer.uid)
        self._ended_total.labels(reason.reason).inc()
        log.info(
            "session ended",
            extra={
                "pod": session.peer.pod,
                "identity": str(session.peer.identity),
                "reason": reason.reason,
                "detail": str(reason),
            },
        )

    def look_again(self) -> None:
        """End, within LOOK_AGAIN_S, the sessions of whom there is something against now."""
        against = [(each, self.objection(session.peer)) for session, each in self._connections.items()]
        ending = [(each, objection) for each, objection in against if objection is not None]
        for number, (connection, objection) in enumerate(ending):
            asyncio.get_running_loop().call_later(number / len(ending) * LOOK_AGAIN_S, connection.end, objection)

    async def run(self) -> None:
        """Push changes and give signs of life until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pushes.run())
            if self._lost is not None:
                group.create_task(self._lost.run())
            group.create_task(self._tick_on())

    async def drain(self, seconds: float) -> None:
        """Say goodbye to everybody, spread over some seconds: those who leave all come to the other replicas."""
        connections = list(self._connections.values())
        for number, connection in enumerate(connections):
            connection.end(SessionEnded("shutting_down", "this replica ends"))
            if number % max(1, len(connections) // 20) == 0:
                await asyncio.sleep(seconds / 20 if len(connections) > 20 else 0)
        if connections:
            await asyncio.sleep(min(seconds, 0.1))  # for the last goodbyes to leave

    def tick(self) -> None:
        """One second of signs of life: each session has its turn every ALIVE_EVERY_S seconds."""
        slot = self._slots[self._next_slot]
        self._next_slot = (self._next_slot + 1) % ALIVE_EVERY_S
        fresh = self._fresh()
        if fresh is self._withheld.silence:
            self._pushes.freshness_changed(fresh=fresh)
        outdone = self.outdone()
        for connection in tuple(slot):
            if not outdone:
                connection.tick()
            else:
                connection.end(SessionEnded("stale", "the API server was silent: another replica may know more"))

    def outdone(self) -> bool:
        """Whether sidecars are better off with another replica."""
        return not self._fresh() and self._siblings_know_more()

    def went_back(self, before: int) -> None:
        """The API server's history did, and this replica had come to the revision `before`."""
        if self._lost is not None:
            self._lost.went_back(before)

    def _take(self, peer: Peer, report: Report) -> None:
        self._evidence.take(peer, report)
        if self._lost is not None and not report.repeated:
            told = max((each.session.told for each in self._by_uid.get(peer.uid, ())), default=0)
            self._lost.reported(peer.uid, report.revision, told)

    def revocations_changed(self) -> None:
        """Tell every sidecar who is trusted no more, then part with those who are told of."""
        self._pushes.revocations_changed()

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if before is None or (after is not None and after.uid == before.uid):
            return
        self._evidence.forget(before.uid)
        for connection in tuple(self._by_uid.get(before.uid, ())):
            connection.end(SessionEnded("pod_gone", f"the pod {before.namespace}/{before.name} was deleted"))

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.tick()
