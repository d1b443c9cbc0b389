"""All live sessions of this replica: what changed in the cluster in, a line to each sidecar concerned out.

The one rule: the cost of a change is paid once for all who watch it, and in portions, so that ten thousand sidecars
and their handshakes never wait for one turn of the loop.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from handfast_operator.cluster.objects import Node, Pod
from handfast_operator.cluster.services import EndpointSlice, Service
from handfast_operator.cluster.store import Store
from handfast_operator.directory.connection import Connection
from handfast_operator.directory.evidence import Evidence
from handfast_operator.directory.index import AddressIndex, Policies
from handfast_operator.directory.session import Peer, Session, SessionEnded
from handfast_operator.directory.subscriptions import Subscriptions
from handfast_sidecar.directory.messages import ALIVE_EVERY_S, AddressAnswer, Place, PolicyUpdate
from handfast_sidecar.observe.metrics import Registry

GATHER_S: Final = 0.05
"""Seconds between two rounds of pushes: the first change goes out at once, a storm of them is gathered."""
PORTION: Final = 64
"""Answers or policies told before other work gets its turn."""
SESSIONS_PER_POD: Final = 3
"""A sidecar has one, and two while it reconnects; the oldest of more makes room."""

log = logging.getLogger(__name__)


class Switchboard:
    """Sessions, and the index they are answered from."""

    def __init__(
        self,
        trust_domain: str,
        pods: Store[Pod],
        services: Store[Service],
        slices: Store[EndpointSlice],
        policies: Policies,
        *,
        evidence: Evidence,
        registry: Registry,
        nodes: Store[Node] | None = None,
        fresh: Callable[[], bool] = lambda: True,
    ) -> None:
        self.cluster_ranges: tuple[str, ...] = ()
        """Sent to every sidecar that connects."""
        self.fresh = fresh
        self._policies = policies
        self._nodes = nodes if nodes is not None else Store[Node]()
        self._evidence = evidence
        self._connections: dict[Session, Connection] = {}
        self._slots: tuple[set[Connection], ...] = tuple(set() for _ in range(ALIVE_EVERY_S))
        self._next_slot = 0
        self._by_uid: dict[str, list[Connection]] = {}
        self._wake = asyncio.Event()
        self._new_policy: dict[str, None] = {}
        self._subscriptions: Subscriptions[Session] = Subscriptions(self._answer)
        self.index = AddressIndex(trust_domain, pods, services, slices, policies, changed=self._addresses_changed)
        pods.subscribe(self._pod_changed)
        policies.subscribe(self._policy_changed)
        self._nodes.subscribe(self._node_changed)
        self._pushes = registry.counter("handfast_directory_pushes_total", "Lines told because something changed.")
        self._ended_total = registry.counter(
            "handfast_directory_sessions_ended_total", "Sessions that ended, by reason.", ("reason",)
        )
        registry.gauge("handfast_directory_sessions", "Sidecars that are connected.").set_function(
            lambda: len(self._connections)
        )
        registry.gauge("handfast_directory_watched_addresses", "Addresses with a watcher.").set_function(
            lambda: len(self._subscriptions)
        )

    def __len__(self) -> int:
        """Live sessions."""
        return len(self._connections)

    def begin(self, connection: Connection, peer: Peer, seconds_left: float) -> None:
        """Start the session of a sidecar that proved who it is."""
        session = Session(
            peer,
            self._subscriptions,
            self._policy_of,
            self._evidence.take,
            self.cluster_ranges,
            place=self._place_of,
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

    async def run(self) -> None:
        """Push changes and give signs of life until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._push())
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
        fresh = self.fresh()
        for connection in tuple(slot):
            if fresh:
                connection.tick()
            else:
                connection.end(SessionEnded("stale", "the API server was silent: another replica may know more"))

    def _answer(self, address: str) -> AddressAnswer:
        return self.index.answer(address)

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
            await self._push_policies()
            for number, (address, line, sessions) in enumerate(self._subscriptions.flush()):
                for session in sessions:
                    self._tell(session, address, line)
                if number % PORTION == PORTION - 1:
                    await asyncio.sleep(0)
            await asyncio.sleep(GATHER_S)

    async def _push_policies(self) -> None:
        uids, self._new_policy = self._new_policy, {}
        for number, uid in enumerate(uids):
            for connection in tuple(self._by_uid.get(uid, ())):
                self._tell(connection.session, "policy", connection.session.policy_line())
            if number % PORTION == PORTION - 1:
                await asyncio.sleep(0)

    def _tell(self, session: Session, key: str, line: bytes) -> None:
        connection = self._connections.get(session)
        if connection is not None:
            connection.push(key, line)
            self._pushes.inc()

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.tick()
