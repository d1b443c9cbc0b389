"""What is written to the status of our custom resources: conditions, counts, authorities.

The one rule: level-triggered, and silent while nothing changes. A change only marks; one loop computes what is marked
and writes what differs from the object as it was last seen, so a write that comes back costs no other.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, Protocol

import aiohttp

from handfast_operator.authority.authority import AuthoritySet, NoAuthority
from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.kinds import MTLS_POLICIES, TRUST_DOMAINS, Kind
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.policy.status import policy_status
from handfast_operator.resources.conditions import Condition, merge_conditions
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_sidecar.identity.bundle import fingerprint
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


@dataclass(frozen=True, slots=True)
class Target:
    """An object that has a status."""

    kind: Kind
    namespace: str
    name: str


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
        authorities: Callable[[], AuthoritySet],
        *,
        clock: Clock = utc_now,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        self._timer = timer
        self._api = api
        self._index = index
        self._pods = pods
        self._authorities = authorities
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
        """Look at every policy again: what one selects, another may decide."""
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
        wanted = self._trust_domain(raw) if target.kind == TRUST_DOMAINS else self._policy(target, raw)
        if wanted != {name: known.get(name) for name in wanted}:
            path = f"{target.kind.item(target.namespace, target.name)}/status"
            self._known[target] = await self._api.patch(path, {"status": wanted})

    def _policy(self, target: Target, raw: Json) -> Json:
        policy = parse_mtls_policy(raw) if target.kind == MTLS_POLICIES else parse_cluster_mtls_policy(raw)
        reach = self._index.pods_of(target.namespace) if target.namespace else list(self._pods)
        pods = [(pod, self._index.namespace_labels(pod.namespace)) for pod in reach]
        status = policy_status(policy, pods, self._index.policies)
        return {
            "conditions": self._merge(raw, *status.conditions),
            "selected": status.selected,
            "unmeshed": status.unmeshed,
        }

    def _trust_domain(self, raw: Json) -> Json:
        authorities = self._authorities()
        if raw["metadata"]["name"] != authorities.trust_domain:
            condition = Condition(
                "Ready",
                False,
                "NotServed",
                f"No effect: the operator issues for {authorities.trust_domain} (chart value trustDomain).",
            )
            return {"conditions": self._merge(raw, condition), "authorities": []}
        listed = sorted(authorities.authorities, key=lambda each: each.certificate.not_valid_before_utc, reverse=True)
        return {
            "conditions": self._merge(raw, _issuing(authorities)),
            "authorities": [
                {
                    "name": each.name,
                    "state": each.state.value,
                    "notAfter": _time(each.certificate.not_valid_after_utc),
                    "fingerprint": fingerprint([each.certificate]),
                }
                for each in listed
            ],
        }

    def _merge(self, raw: Json, *conditions: Condition) -> list[Json]:
        known = (raw.get("status") or {}).get("conditions") or ()
        return merge_conditions(known, conditions, _generation(raw), self._clock())


def _issuing(authorities: AuthoritySet) -> Condition:
    try:
        active = authorities.active
    except NoAuthority as error:
        return Condition("Ready", False, "NoAuthority", str(error))
    until = _time(active.certificate.not_valid_after_utc)
    return Condition("Ready", True, "Issuing", f"{active.name} signs until {until}.")


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


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
