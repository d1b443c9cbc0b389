"""What is written to the status of our custom resources: conditions, counts, authorities.

The one rule: level-triggered, and silent while nothing changes. A change only marks; one loop computes what is marked
and writes what differs from the object as it was last seen, so a write that comes back costs no other.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol

import aiohttp

from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.kinds import CLUSTER_MTLS_POLICIES, MTLS_POLICIES, TRUST_DOMAINS, Kind
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.policy.census import Census
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.policy.status import policy_status
from handfast_operator.resources.conditions import Condition, merge_conditions
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_sidecar.identity.clock import Clock, utc_now

log = logging.getLogger(__name__)

Json = dict[str, Any]
SETTLE_S: Final = 0.5
"""Seconds in which changes are collected: a rollout of a thousand pods is a few writes of a status, not a thousand."""
REST: Final = 5
"""After a round the writer rests for this many times its duration: counting 10,000 pods must not be all we do."""
MOST_REST_S: Final = 5.0
"""And no longer: a round also takes long when the API server does, and people wait for what a status says."""
RETRY_S: Final = 5.0
LOOK_AGAIN_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Target:
    """An object that has a status."""

    kind: Kind
    namespace: str
    name: str


def nothing_told(_target: Target, _before: Json, _status: Json) -> None:
    """Of most kinds nobody is told by Events."""


@dataclass(frozen=True, slots=True)
class KindStatus:
    """How the status of a kind is made."""

    compute: Callable[[Json], Json]
    """From an object as it is, its status included, to the status as it should be."""
    written: Callable[[Target, Json, Json], object] = nothing_told
    """Called with the object as it was and the status that was written."""


class Api(Protocol):
    """What the writer needs of the API server; `cluster.client.ApiClient` has it."""

    async def patch(self, path: str, body: Any) -> Json: ...


class StatusWriter:
    """Computes statuses, and patches those that differ."""

    def __init__(
        self,
        api: Api,
        index: PolicyIndex,
        pods: Store[Pod],
        *,
        promotion: Callable[[Json], tuple[Json, tuple[Condition, ...]]] = lambda _raw: ({}, ()),
        kinds: Mapping[Kind, KindStatus] | None = None,
        clock: Clock = utc_now,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        """`kinds`: further ones than policies."""
        self._timer = timer
        self._api = api
        self._kinds: dict[Kind, KindStatus] = {
            MTLS_POLICIES: KindStatus(lambda raw: self._policy(MTLS_POLICIES, raw)),
            CLUSTER_MTLS_POLICIES: KindStatus(lambda raw: self._policy(CLUSTER_MTLS_POLICIES, raw)),
            **(kinds or {}),
        }
        self._index = index
        self._pods = pods
        self._census = Census(index.trust_domain, pods, index.namespaces, timer)
        self._promotion = promotion
        self._clock = clock
        self._pause = pause
        self._known: dict[Target, Json] = {}
        """Objects as last seen."""
        self._marked: set[Target] = set()
        self._changed = asyncio.Event()
        pods.subscribe(self._pod_changed)

    def see(self, target: Target, raw: Json) -> None:
        """An object as it is now."""
        before = self._known.get(target)
        self._known[target] = raw
        if before is not None and _version(raw) < _version(before):
            self._known[target] = before  # an event from before our own write
        if before is None or _generation(before) != _generation(raw):
            self.mark_policies()
        self.mark(target)

    def forget(self, target: Target) -> None:
        """An object is gone."""
        if self._known.pop(target, None) is not None:
            self.mark_policies()

    def mark(self, target: Target) -> None:
        """Look at an object again."""
        self._marked.add(target)
        self._changed.set()

    def mark_policies(self) -> None:
        """Look at every policy, grant and request again: what one selects, another may decide."""
        self._mark_all(lambda target: target.kind != TRUST_DOMAINS)

    def mark_trust_domains(self) -> None:
        """Look at every trust domain again."""
        self._mark_all(lambda target: target.kind == TRUST_DOMAINS)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._changed.wait()
            await self._pause(SETTLE_S)
            self._changed.clear()
            began = self._timer()
            complete = await self.write_marked()
            await self._pause(min((self._timer() - began) * REST, MOST_REST_S))
            if not complete:
                await self._pause(RETRY_S)
                self._changed.set()

    async def look_again(self) -> None:
        """Look at every policy each hour until cancelled: some doubts about them come with time alone."""
        while True:
            await self._pause(LOOK_AGAIN_S)
            self.mark_policies()

    async def write_marked(self) -> bool:
        """One round; False: some could not be written and stay marked."""
        marked, self._marked = self._marked, set()
        for target in sorted(marked, key=lambda each: (each.kind.plural, each.namespace, each.name)):
            try:
                await self._write(target)
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                if isinstance(error, ApiError) and error.status == 404:
                    self.forget(target)
                    continue
                log.warning(
                    "status not written, trying again",
                    extra={
                        "kind": target.kind.plural,
                        "object": f"{target.namespace}/{target.name}",
                        "error": str(error),
                    },
                )
                self._marked.add(target)
            await asyncio.sleep(0)
        return not self._marked & marked

    def _mark_all(self, wanted: Callable[[Target], bool]) -> None:
        self._marked |= {target for target in self._known if wanted(target)}
        self._changed.set()

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if _counts(before) != _counts(after):
            self.mark_policies()

    async def _write(self, target: Target) -> None:
        raw = self._known.get(target)
        if raw is None:
            return
        known = raw.get("status") or {}
        of_kind = self._kinds[target.kind]
        wanted = of_kind.compute(raw)
        if without_nulls(wanted) != {name: known[name] for name in wanted if known.get(name) is not None}:
            path = f"{target.kind.item(target.namespace, target.name)}/status"
            self._known[target] = await self._api.patch(path, {"status": wanted})
            of_kind.written(target, raw, wanted)

    def _policy(self, kind: Kind, raw: Json) -> Json:
        policy = parse_mtls_policy(raw) if kind == MTLS_POLICIES else parse_cluster_mtls_policy(raw)
        namespace = raw["metadata"].get("namespace", "")
        reach = self._index.pods_of(namespace) if namespace else list(self._pods)
        pods = [(pod, self._index.namespace_labels(pod.namespace)) for pod in reach]
        status = policy_status(policy, pods, self._index.policies, self._census, self._clock())
        promotion, promoted = self._promotion(raw)
        return promotion | {
            "conditions": self._merge(raw, *status.conditions, *promoted),
            "selected": status.selected,
            "unmeshed": status.unmeshed,
        }

    def _merge(self, raw: Json, *conditions: Condition) -> list[Json]:
        known = (raw.get("status") or {}).get("conditions") or ()
        return merge_conditions(known, conditions, _generation(raw), self._clock())


def without_nulls(status: Json) -> Json:
    """As the API server keeps it: a null removes a field in a merge patch."""
    kept = {name: value for name, value in status.items() if value is not None}
    return {name: without_nulls(value) if isinstance(value, dict) else value for name, value in kept.items()}


def _counts(pod: Pod | None) -> tuple[Any, ...]:
    """What of a pod a policy's status depends on."""
    if pod is None or pod.terminal:
        return ()
    return (pod.meshed, tuple(sorted(pod.labels.items())))


def _generation(raw: Json) -> int:
    """Grows with the spec, and not with the status."""
    return int(raw["metadata"].get("generation", 1))


def _version(raw: Json) -> int:
    return int(raw["metadata"].get("resourceVersion", 0))
