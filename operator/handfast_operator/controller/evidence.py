"""What all replicas of the directory know, as one view: a connection to each of them, for as long as we lead.

The one rule: a replica that cannot be reached is not a replica that saw nothing. Its last view stays for a minute, its
age told in `EvidenceView.replicas`; by then its sidecars have turned to another one.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from handfast_operator import metrics
from handfast_operator.authority.authority import AuthoritySet, NoAuthority
from handfast_operator.authority.leaf import LeafRequest, issue
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller.evidence_stream import EvidenceLost, lines
from handfast_operator.evidence.changes import Hearing
from handfast_operator.evidence.view import EvidenceView, merge
from handfast_operator.settings import Settings
from handfast_sidecar.directory.patience import backoff_s
from handfast_sidecar.errors import BadInput
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.contexts import stream_client_context
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.wellknown import ALPN_EVIDENCE, DIRECTORY_ACCOUNT, DIRECTORY_PORT

KEEP_S: Final = 60.0
"""Seconds that the view of a replica stays which is away."""
LOOK_S: Final = 10.0
"""Seconds between looks at what is too old."""
LEAF_TTL: Final = timedelta(hours=1)
"""Of our own leaf towards the directory. After half of it the connection is opened anew, with another one."""
STABLE_S: Final = 5.0
"""A connection that lasted this long was a good one: the back-off starts anew."""
RENEWED: Final = "renewed"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Replica:
    """One pod of the directory, as far as we hear of it."""

    name: str
    view: EvidenceView | None = None
    connected: bool = False
    heard_at: float = 0.0
    """Monotonic time of its last view."""

    def part(self) -> EvidenceView | None:
        """Of the whole; what was open at one that is away may be told by another one already."""
        if self.view is None or self.connected:
            return self.view
        return replace(self.view, edges=tuple(replace(each, open=0, per_second=0.0) for each in self.view.edges))


class EvidenceCollector:
    """Follows every replica of the directory. `view` and `subscribe` are for the parts that judge by evidence."""

    def __init__(
        self,
        pods: Store[Pod],
        settings: Settings,
        authorities: Callable[[], AuthoritySet],
        registry: Registry,
        *,
        port: int = DIRECTORY_PORT,
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`authorities` signs our own leaf towards the directory, and says whom to trust."""
        self._pods = pods
        self._settings = settings
        self._authorities = authorities
        self._port = port
        self._clock = clock
        self._monotonic = monotonic
        self._replicas: dict[str, _Replica] = {}
        """By UID; one whose pod is gone stays until its view is too old."""
        self._listeners: list[Callable[[], None]] = []
        self._whole: EvidenceView | None = None
        self._wake = asyncio.Event()
        states = metrics.EVIDENCE_REPLICAS.of(registry)
        states.labels("connected").set_function(lambda: sum(each.connected for each in self._replicas.values()))
        states.labels("away").set_function(lambda: sum(not each.connected for each in self._replicas.values()))
        metrics.EVIDENCE_EDGES.of(registry).set_function(lambda: len(self.view.edges))
        self._lost = metrics.EVIDENCE_LOST.of(registry)
        pods.subscribe(self._pod_changed)

    @property
    def view(self) -> EvidenceView:
        """Of all replicas; empty and of the time 0 before the first of them told anything."""
        if self._whole is None:
            parts = (each.part() for each in self._replicas.values())
            self._whole = merge(part for part in parts if part is not None)
        return self._whole

    def subscribe(self, listener: Callable[[], None], /) -> None:
        """Hear that `view` is another one: every few seconds, from each replica."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Follow the replicas, as they come and go, until cancelled."""
        following: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                serving = {pod.uid: pod for pod in self._pods if self._is_directory(pod) and _serves(pod)}
                for uid in following.keys() - serving.keys():
                    following.pop(uid).cancel()
                for uid in serving.keys() - following.keys():
                    replica = self._replicas.setdefault(uid, _Replica(serving[uid].name))
                    following[uid] = group.create_task(self._follow(replica, serving[uid].ips[0]))
                self._forget(serving)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._wake.wait()

    # --- who they are

    def _is_directory(self, pod: Pod) -> bool:
        """By its service account: that is what its identity is made of, and labels are the chart's own matter."""
        return pod.namespace == self._settings.namespace and pod.service_account == DIRECTORY_ACCOUNT

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if any(pod is not None and self._is_directory(pod) for pod in (before, after)):
            self._wake.set()

    def _forget(self, serving: Container[str]) -> None:
        """Views that are too old, and replicas that are gone with theirs."""
        too_old = self._monotonic() - KEEP_S
        for uid, replica in list(self._replicas.items()):
            if replica.connected or replica.heard_at > too_old:
                continue
            if replica.view is not None:
                log.warning("the evidence of a replica is given up: it is away", extra={"replica": replica.name})
                replica.view = None
                self._changed()
            if uid not in serving:
                del self._replicas[uid]

    def _changed(self) -> None:
        self._whole = None
        for listener in self._listeners:
            listener()

    # --- one of them

    async def _follow(self, replica: _Replica, address: str) -> None:
        failures = 0
        try:
            while True:
                began = self._monotonic()
                reason = await self._listen(replica, address)
                self._lost.labels(reason).inc()
                failures = 0 if self._monotonic() - began > STABLE_S else failures + 1
                if reason != RENEWED:
                    self._away(replica)
                    await asyncio.sleep(backoff_s(failures))
        finally:
            self._away(replica)

    def _away(self, replica: _Replica) -> None:
        if replica.connected:
            replica.connected = False
            self._changed()

    async def _listen(self, replica: _Replica, address: str) -> str:
        """Take what a replica says until that ends; why it did."""
        try:
            async with asyncio.timeout(LEAF_TTL.total_seconds() / 2):
                await self._take(replica, address)
        except TimeoutError:
            return RENEWED
        except (EvidenceLost, BadInput, NoAuthority) as error:
            reason = error.reason if isinstance(error, EvidenceLost) else "bad_message"
            if isinstance(error, NoAuthority):
                reason = "no_authority"
            log.warning(
                "no evidence from a replica of the directory",
                extra={"replica": replica.name, "reason": reason, "detail": str(error)},
            )
            return reason
        except Exception:
            # The supervisor of one connection: whatever fails in it must not end the controller.
            log.exception("the evidence of a replica failed in a way of its own", extra={"replica": replica.name})
        return "internal"

    async def _take(self, replica: _Replica, address: str) -> None:
        authorities = self._authorities()
        request = LeafRequest(self._settings.controller_id, self._settings.pod_name, "", LEAF_TTL)
        leaf = issue(authorities.active, request, self._clock())
        context = stream_client_context(leaf.chain_pem, leaf.key_pem, authorities.bundle, ALPN_EVIDENCE)
        hearing = Hearing(replica.name)
        said = lines(address, self._port, context, self._settings.directory_id)
        async with contextlib.aclosing(said):
            async for line in said:
                view = hearing.take(line)
                if view is not None:
                    replica.view, replica.connected, replica.heard_at = view, True, self._monotonic()
                    self._changed()


def _serves(pod: Pod) -> bool:
    return bool(pod.ips) and not pod.terminal
