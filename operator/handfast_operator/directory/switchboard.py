"""All live sessions of this replica: what changed in the cluster in, a line to each sidecar concerned out.

The one rule: the cost of a change is paid once for all who watch it, and in portions, so that ten thousand sidecars
and their handshakes never wait for one turn of the loop.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from handfast_operator import metrics
from handfast_operator.cluster.objects import Node, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.directory.connection import Connection
from handfast_operator.directory.evidence import Evidence
from handfast_operator.directory.index import AddressIndex, Policies
from handfast_operator.directory.lost_history import Current, LostHistory
from handfast_operator.directory.session import Peer, Session, SessionEnded
from handfast_operator.directory.subscriptions import Subscriptions
from handfast_sidecar.config.document import parse_ranges
from handfast_sidecar.directory.codec import encode
from handfast_sidecar.directory.messages import (
    ALIVE_EVERY_S,
    AddressAnswer,
    NobodyAddress,
    Place,
    PolicyUpdate,
    Report,
    RevokedUpdate,
)
from handfast_sidecar.identity.revocation import Revocations
from handfast_sidecar.observe.metrics import Registry

GATHER_S: Final = 0.05
"""Seconds between two rounds of pushes: the first change goes out at once, a storm of them is gathered."""
PORTION: Final = 64
"""Answers or policies told before other work gets its turn."""
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
        self._withheld: set[str] | None = None
        """Addresses of which nothing can be said, for the API server is silent; None: it is not."""
        self.objection: Callable[[Peer], SessionEnded | None] = lambda _peer: None
        """What there is now against a sidecar that proved who it is."""
        self._policies = policies
        self._revoked = revoked
        self._revoked_line = b""
        """What is told of it; empty while there is nothing to tell."""
        self._new_revoked = False
        self._nodes = nodes if nodes is not None else Store[Node]()
        self._evidence = evidence
        self._connections: dict[Session, Connection] = {}
        self._slots: tuple[set[Connection], ...] = tuple(set() for _ in range(ALIVE_EVERY_S))
        self._next_slot = 0
        self._by_uid: dict[str, list[Connection]] = {}
        self._wake = asyncio.Event()
        self._new_policy: dict[str, None] = {}
        self._lost = LostHistory(lambda: policies.revision, current, self._tell_policy) if current else None
        self._subscriptions: Subscriptions[Session] = Subscriptions(self._answer)
        self.index = index
        index.changed = self._addresses_changed
        pods.subscribe(self._pod_changed)
        policies.subscribe(self._policy_changed)
        self._nodes.subscribe(self._node_changed)
        self._pushes = metrics.PUSHES.of(registry)
        self._ended_total = metrics.SESSIONS_ENDED.of(registry)
        metrics.SESSIONS.of(registry).set_function(lambda: len(self._connections))
        metrics.WATCHED.of(registry).set_function(lambda: len(self._subscriptions))

    def __len__(self) -> int:
        """Live sessions."""
        return len(self._connections)

    def begin(self, connection: Connection, peer: Peer, seconds_left: float) -> None:
        """Start the session of a sidecar that proved who it is."""
        session = Session(
            peer,
            self._subscriptions,
            self._policy_of,
            self._take,
            self.cluster_ranges,
            place=self._place_of,
            revoked=lambda: self._revoked_line,
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
            group.create_task(self._push())
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
        if fresh is not (self._withheld is None):
            self._freshness_changed(fresh=fresh)
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
        self._revoked_line = encode(RevokedUpdate(self._revoked()))
        self._new_revoked = True
        self._wake.set()

    def _answer(self, address: str) -> AddressAnswer | None:
        """None: it was nobody's when the API server last spoke, and may be somebody's by now."""
        if self._withheld is not None and self._may_be_somebodys(address):
            self._withheld.add(address)
            return None
        return self.index.answer(address)

    def _may_be_somebodys(self, address: str) -> bool:
        if not isinstance(self.index.answer(address), NobodyAddress):
            return False
        ranges = parse_ranges(self.cluster_ranges)
        return not ranges or any(ip_address(address) in each for each in ranges)

    def _freshness_changed(self, *, fresh: bool) -> None:
        if fresh:
            withheld, self._withheld = self._withheld or set(), None
            self._addresses_changed(withheld)
        else:
            self._withheld = set(filter(self._may_be_somebodys, self._subscriptions.watched()))
            self._subscriptions.withhold(self._withheld)

    # --- changes

    def _addresses_changed(self, addresses: Iterable[str]) -> None:
        if self._subscriptions.changed(addresses):
            self._wake.set()

    def _policy_changed(self, pod: Pod) -> None:
        if pod.uid in self._by_uid:
            self._new_policy[pod.uid] = None
            self._wake.set()

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if before is None or (after is not None and after.uid == before.uid):
            return
        self._evidence.forget(before.uid)
        for connection in tuple(self._by_uid.get(before.uid, ())):
            connection.end(SessionEnded("pod_gone", f"the pod {before.namespace}/{before.name} was deleted"))

    def _policy_of(self, uid: str) -> PolicyUpdate | None:
        pod = self.index.pod(uid)
        if pod is None:
            return None
        return PolicyUpdate(self._policies.revision, self._policies.compiled(pod).policy)

    def _node_changed(self, before: Node | None, after: Node | None) -> None:
        """A node of another zone tells its pods: rare, so who they are is looked up only then."""
        node = after or before
        if node is None or (before is not None and after is not None and before.zone == after.zone):
            return
        for uid, connections in tuple(self._by_uid.items()):
            if self._place_of(uid).node == node.name:
                for connection in tuple(connections):
                    self._tell(connection.session, "place", connection.session.place_line())

    def _place_of(self, uid: str) -> Place:
        pod = self.index.pod(uid)
        if pod is None:
            return Place()
        node = self._nodes.get("", pod.node)
        return Place(pod.node, node.zone if node is not None else "")

    async def _push(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._push_revoked()
            await self._push_policies()
            for number, (address, line, sessions) in enumerate(self._subscriptions.flush()):
                for session in sessions:
                    self._tell(session, address, line)
                if number % PORTION == PORTION - 1:
                    await asyncio.sleep(0)
            await asyncio.sleep(GATHER_S)

    async def _push_revoked(self) -> None:
        if not self._new_revoked:
            return
        self._new_revoked = False
        for number, session in enumerate(tuple(self._connections)):
            self._tell(session, "revoked", self._revoked_line)
            if number % PORTION == PORTION - 1:
                await asyncio.sleep(0)
        self.look_again()

    async def _push_policies(self) -> None:
        uids, self._new_policy = self._new_policy, {}
        lines: dict[tuple[int, int], tuple[PolicyUpdate, bytes]] = {}
        for number, uid in enumerate(uids):
            update = self._policy_of(uid)
            if update is not None:
                # The pods of a workload share one compiled policy, and so one line.
                key = (id(update.policy), update.revision)
                told = lines.get(key) or lines.setdefault(key, (update, encode(update)))
                for connection in tuple(self._by_uid.get(uid, ())):
                    connection.session.told = update.revision
                    self._tell(connection.session, "policy", told[1])
            if number % PORTION == PORTION - 1:
                await asyncio.sleep(0)

    def _tell_policy(self, uid: str, over: int) -> None:
        update = self._policy_of(uid)
        if update is not None:
            line = encode(replace(update, over=over))
            for connection in tuple(self._by_uid.get(uid, ())):
                connection.session.told = update.revision
                self._tell(connection.session, "policy", line)

    def _tell(self, session: Session, key: str, line: bytes) -> None:
        connection = self._connections.get(session)
        if connection is not None:
            connection.push(key, line)
            self._pushes.inc()

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.tick()
