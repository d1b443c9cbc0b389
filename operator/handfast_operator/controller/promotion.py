"""Mode `Auto`, driven: evidence, pods and policies in, statuses and an Event out. The edge of `policy.promotion`.

The one rule: what this process remembers decides, and the status only carries it to the next one. So an edit of the
status is put right, and a mode that was changed and changed back begins anew, however fast that was.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from handfast_operator.cluster.kinds import CLUSTER_MTLS_POLICIES, MTLS_POLICIES
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller.events import Regarding
from handfast_operator.controller.status import Target
from handfast_operator.controller.timing import SystemTime, Time, Timer, wait_until
from handfast_operator.evidence.view import EvidenceView
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.policy.plaintext import Clients, Reach, clients, plaintext_edges, reaches
from handfast_operator.policy.promotion import Clock, PodSight, Sight, next_look, start, step
from handfast_operator.policy.promotion_report import NOTHING, Report, next_list, report
from handfast_operator.resources.conditions import Condition
from handfast_operator.resources.durations import format_duration
from handfast_operator.resources.parse import AUTO
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy, Policy
from handfast_operator.resources.promotion import Promotion
from handfast_sidecar.wellknown import API_GROUP, API_VERSION

log = logging.getLogger(__name__)

Json = dict[str, Any]
PAUSE_S: Final = 1.0
"""Seconds from news to the look at it, at least: ten thousand sidecars report all the time."""
SHARE: Final = 20
"""Times as long as a look took until the next one: looking costs a twentieth of a CPU at most."""
PROMOTED_TO_STRICT: Final = "PromotedToStrict"
Say = Callable[[Regarding, str, str, str], None]


class EvidenceSource(Protocol):
    """Where evidence comes from; `controller.evidence.EvidenceCollector` is one."""

    @property
    def view(self) -> EvidenceView: ...
    def subscribe(self, listener: Callable[[], None], /) -> None: ...


@dataclass(slots=True)
class _Candidate:
    """A policy whose mode is `Auto`."""

    policy: Policy
    clock: Clock
    report: Report | None = None


class Promotions:
    """The clocks of all policies of mode `Auto`."""

    def __init__(
        self,
        pods: Store[Pod],
        policies: Store[MtlsPolicy],
        cluster_policies: Store[ClusterMtlsPolicy],
        index: PolicyIndex,
        evidence: EvidenceSource,
        *,
        say: Say,
        time: Time | None = None,
    ) -> None:
        self._pods, self._index, self._evidence = pods, index, evidence
        self._say = say
        self.changed: Callable[[Target], None] = lambda _policy: None
        """Called with a policy whose status is to say something else from now on."""
        self._time = time or SystemTime()
        self._runs_since: dict[str, datetime] = {}
        """Live sidecars by the UID of their pod."""
        self._candidates: dict[str, _Candidate] = {}
        """By UID."""
        self._reaches: dict[str, Reach] | None = None
        """By origin; None: to be found anew."""
        self._news = asyncio.Event()
        self._timer: Timer | None = None
        # Pods first: what is there already ran before any clock is looked at.
        pods.subscribe(self._pod_changed)
        index.subscribe(lambda _pod: self._reach_changed())
        policies.subscribe(self._policy_changed)
        cluster_policies.subscribe(self._policy_changed)
        evidence.subscribe(self._news.set)

    async def run(self) -> None:
        """Look at whatever is new, until cancelled."""
        pause = PAUSE_S
        while True:
            await self._news.wait()
            await wait_until(self._time, self._time.now() + timedelta(seconds=pause))
            self._news.clear()
            began = time.monotonic()
            self.look()
            pause = max(PAUSE_S, SHARE * (time.monotonic() - began))

    def look(self) -> None:
        """Let every clock see what is known now."""
        now = self._time.now()
        waiting = [each for each in self._candidates.values() if each.clock.promoted_at is None or each.report is None]
        if waiting and self._reaches is None:
            origins = [each.policy.origin for each in waiting]
            self._reaches = dict(reaches(origins, self._pods, self._index.compiled))
        view = self._evidence.view
        plaintext = plaintext_edges(view.edges) if waiting else {}
        wake: list[datetime] = []
        for each in waiting:
            reach = (self._reaches or {}).get(each.policy.origin) or Reach()
            after = each.policy.spec.promote_after or timedelta()
            seen = clients(plaintext, reach, now, after)
            sight = Sight(self._sights(reach.pods, view), seen.last_seen)
            wake.extend(self._look_at(each, now, sight, seen, after))
        self._wake_at(min(wake, default=None))

    def status(self, raw: Json) -> tuple[Json, tuple[Condition, ...]]:
        """What belongs into the status of a policy, as a merge patch, and its condition; `raw` as last seen."""
        if (raw.get("spec") or {}).get("mode") != AUTO:
            return NOTHING, ()
        candidate = self._candidates.get(str(raw["metadata"]["uid"]))
        if candidate is not None and candidate.report is None:
            self.look()
        if candidate is None or candidate.report is None:
            return {}, ()  # our own watch has not shown it yet, and will
        known = (raw.get("status") or {}).get("promotion") or {}
        return candidate.report.to_json(known), (candidate.report.condition,)

    def _look_at(
        self, one: _Candidate, now: datetime, sight: Sight, seen: Clients, after: timedelta
    ) -> Iterator[datetime]:
        """Let one clock see it; when it is to be looked at again, whatever comes."""
        before, one.clock = one.clock, step(one.clock, now, sight, after)
        if one.clock.promoted_at != before.promoted_at:
            self._promote(one.policy, after)
        said = report(one.clock, now, sight, seen, after, one.report)
        if said != one.report:
            one.report = said
            self.changed(_target(one.policy))
        if one.clock.promoted_at is None:
            times = next_look(one.clock, now, sight, after), next_list(said, seen)
            yield from (when for when in times if when is not None)

    def _sights(self, pods: Iterable[Pod], view: EvidenceView) -> list[PodSight]:
        found = []
        for pod in pods:
            since = self._runs_since.get(pod.uid)
            if since is not None:
                said = view.pods.get(pod.uid)
                reported = datetime.fromtimestamp(said.at, UTC) if said is not None else None
                found.append(PodSight(f"{pod.namespace}/{pod.name}", since, reported))
        return found

    def _promote(self, policy: Policy, after: timedelta) -> None:
        log.info("promoted to Strict", extra={"policy": policy.origin})
        note = (
            f"no plaintext client for {format_duration(after)}: plaintext is refused from now on; to let it in again, "
            "set mode to Permissive"
        )
        self._say(_about(policy), "Normal", PROMOTED_TO_STRICT, note)

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if before is not None and (after is None or after.uid != before.uid):
            self._runs_since.pop(before.uid, None)
        if after is not None and _lives(after):
            self._runs_since.setdefault(after.uid, self._time.now())
        elif after is not None:
            self._runs_since.pop(after.uid, None)
        if _counts(before) != _counts(after):
            self._reach_changed()

    def _policy_changed(self, before: Policy | None, after: Policy | None) -> None:
        if before is not None and (after is None or after.uid != before.uid):
            self._candidates.pop(before.uid, None)
        if after is not None:
            known = self._candidates.get(after.uid)
            if after.spec.promote_after is None:
                self._candidates.pop(after.uid, None)
            elif known is not None:
                known.policy = after
            else:
                # What its status says may still be of the time before the mode was another one.
                again = before is not None and before.uid == after.uid
                now = self._time.now()
                self._candidates[after.uid] = _Candidate(after, start(Promotion() if again else after.promotion, now))
        self._reach_changed()

    def _reach_changed(self) -> None:
        self._reaches = None
        self._news.set()

    def _wake_at(self, when: datetime | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._time.call_at(when, self._news.set) if when is not None else None


def _target(policy: Policy) -> Target:
    if isinstance(policy, MtlsPolicy):
        return Target(MTLS_POLICIES, policy.namespace, policy.name)
    return Target(CLUSTER_MTLS_POLICIES, "", policy.name)


def _about(policy: Policy) -> Regarding:
    kind, namespace = ("MTLSPolicy", policy.namespace) if isinstance(policy, MtlsPolicy) else ("ClusterMTLSPolicy", "")
    return Regarding(f"{API_GROUP}/{API_VERSION}", kind, namespace, policy.name, policy.uid)


def _lives(pod: Pod) -> bool:
    """Whether its sidecar is to report; one that is being deleted gets no new clients, and its node may be gone."""
    return pod.meshed and pod.proxy_running and not (pod.terminal or pod.deleting)


def _counts(pod: Pod | None) -> object:
    """What of a pod a reach, or a sight of it, depends on."""
    return None if pod is None or not pod.meshed or pod.terminal else (pod.uid, pod.labels, _lives(pod))
