"""What changed in the cluster, as lines to the sidecars that it concerns: addresses, policies, places, and who is
revoked.

The one rule: the cost of a change is paid once for all who watch it, and in portions, so that ten thousand sidecars
and their handshakes never wait for one turn of the loop.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from handfast_operator.cluster.objects import Node, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.directory.connection import Connection
from handfast_operator.directory.index import AddressIndex, Policies
from handfast_operator.directory.session import Session
from handfast_operator.directory.subscriptions import Subscriptions
from handfast_operator.directory.withheld import Withheld
from handfast_sidecar.directory.codec import encode
from handfast_sidecar.directory.messages import Place, PolicyUpdate, RevokedUpdate
from handfast_sidecar.identity.revocation import Revocations

GATHER_S: Final = 0.05
"""Seconds between two rounds of pushes: the first change goes out at once, a storm of them is gathered."""
PORTION: Final = 64
"""Answers or policies told before other work gets its turn."""


class Pushes:
    """Gathers changes, and tells of them.

    connections  of all live sessions
    by_uid       of the sessions of a pod
    withheld     answers, as far as they can be given
    revoked      who is, as of now
    parting      called when all have been told who is revoked
    pushed       called with each line that is told
    """

    def __init__(
        self,
        connections: Mapping[Session, Connection],
        by_uid: Mapping[str, Sequence[Connection]],
        *,
        index: AddressIndex,
        policies: Policies,
        nodes: Store[Node],
        withheld: Withheld,
        revoked: Callable[[], Revocations],
        parting: Callable[[], None],
        pushed: Callable[[], None],
    ) -> None:
        self._connections, self._by_uid = connections, by_uid
        self._index, self._policies, self._nodes = index, policies, nodes
        self._withheld = withheld
        self._revoked = revoked
        self._parting = parting
        self._pushed = pushed
        self.subscriptions: Subscriptions[Session] = Subscriptions(withheld.answer)
        self.revoked_line = b""
        """What is told of who is revoked; empty while there is nothing to tell."""
        self._new_revoked = False
        self._new_policy: dict[str, None] = {}
        self._wake = asyncio.Event()

    # --- what a pod is told

    def policy_of(self, uid: str) -> PolicyUpdate | None:
        """None: the pod is not known."""
        pod = self._index.pod(uid)
        if pod is None:
            return None
        return PolicyUpdate(self._policies.revision, self._policies.compiled(pod).policy)

    def place_of(self, uid: str) -> Place:
        """Where it runs."""
        pod = self._index.pod(uid)
        if pod is None:
            return Place()
        node = self._nodes.get("", pod.node)
        return Place(pod.node, node.zone if node is not None else "")

    def tell_policy(self, uid: str, over: int) -> None:
        """Tell a pod its policy again, over this revision."""
        update = self.policy_of(uid)
        if update is not None:
            line = encode(replace(update, over=over))
            for connection in tuple(self._by_uid.get(uid, ())):
                connection.session.told = update.revision
                self._tell(connection.session, "policy", line)

    # --- changes

    def addresses_changed(self, addresses: Iterable[str]) -> None:
        """What lives there may be another."""
        if self.subscriptions.changed(addresses):
            self._wake.set()

    def freshness_changed(self, *, fresh: bool) -> None:
        """The API server fell silent, or speaks again."""
        if fresh:
            self.addresses_changed(self._withheld.end())
        else:
            self.subscriptions.withhold(self._withheld.begin(self.subscriptions.watched()))

    def policy_changed(self, pod: Pod) -> None:
        """The policy of a pod did."""
        if pod.uid in self._by_uid:
            self._new_policy[pod.uid] = None
            self._wake.set()

    def node_changed(self, before: Node | None, after: Node | None) -> None:
        """A node of another zone tells its pods: rare, so who they are is looked up only then."""
        node = after or before
        if node is None or (before is not None and after is not None and before.zone == after.zone):
            return
        for uid, connections in tuple(self._by_uid.items()):
            if self.place_of(uid).node == node.name:
                for connection in tuple(connections):
                    self._tell(connection.session, "place", connection.session.place_line())

    def revocations_changed(self) -> None:
        """Tell every sidecar who is trusted no more, then part with those who are told of."""
        self.revoked_line = encode(RevokedUpdate(self._revoked()))
        self._new_revoked = True
        self._wake.set()

    # --- pushes

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._push_revoked()
            await self._push_policies()
            for number, (address, line, sessions) in enumerate(self.subscriptions.flush()):
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
            self._tell(session, "revoked", self.revoked_line)
            if number % PORTION == PORTION - 1:
                await asyncio.sleep(0)
        self._parting()

    async def _push_policies(self) -> None:
        uids, self._new_policy = self._new_policy, {}
        lines: dict[tuple[int, int], tuple[PolicyUpdate, bytes]] = {}
        for number, uid in enumerate(uids):
            update = self.policy_of(uid)
            if update is not None:
                # The pods of a workload share one compiled policy, and so one line.
                key = (id(update.policy), update.revision)
                told = lines.get(key) or lines.setdefault(key, (update, encode(update)))
                for connection in tuple(self._by_uid.get(uid, ())):
                    connection.session.told = update.revision
                    self._tell(connection.session, "policy", told[1])
            if number % PORTION == PORTION - 1:
                await asyncio.sleep(0)

    def _tell(self, session: Session, key: str, line: bytes) -> None:
        connection = self._connections.get(session)
        if connection is not None:
            connection.push(key, line)
            self._pushed()
