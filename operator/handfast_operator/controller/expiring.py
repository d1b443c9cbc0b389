"""Tells of certificates that end and were not replaced: leaves, authorities, external issuers, the operator's own.

Its one rule: level-triggered, and silent while all is well. Each look judges what is known now, so a controller that
starts in the middle of a failure finds it; what was told is told again by a restart alone, and then once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from handfast_operator import metrics
from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.expiring import (
    PROJECTION,
    Life,
    Notice,
    Within,
    authority_notice,
    authority_within,
    issuer_notice,
    leaf_notice,
    leaf_within,
    loaded_notice,
    serving_notice,
)
from handfast_operator.authority.schedule import BACKDATE, renew_at
from handfast_operator.authority.state import AuthorityState
from handfast_operator.cluster.objects import Key, Pod, SecretMeta
from handfast_operator.cluster.store import Store
from handfast_operator.controller.events import Regarding, about_pod
from handfast_operator.controller.issuance import (
    ANNOTATION_ISSUED_AT,
    ANNOTATION_NOT_AFTER,
    ANNOTATION_RENEW_AT,
    ANNOTATION_SERIAL,
)
from handfast_operator.controller.timing import SystemTime, Time, wait_until
from handfast_operator.evidence.view import EvidenceView, PodReport
from handfast_operator.resources.times import format_time, parse_time
from handfast_sidecar.observe.metrics import Registry

Say = Callable[[Regarding, str, str, str], object]
"""`EventWriter.say`."""
LOOK: Final = timedelta(minutes=1)
BATCH: Final = 2_000
"""Pods judged at a time, a millisecond or so: the loop has other work."""
MOST_TOLD: Final = 500
"""Events of one look: of a cluster in which nothing is renewed, those first that end first."""
LEAF, AUTHORITY, ISSUER, SERVING = "leaf", "authority", "issuer", "serving"
SELF_SIGNED: Final = "selfSigned"
EXTERNAL: Final = "secretRef"
NOBODY: Final = "none"
"""In the metric's label `root`, where nobody signs."""


@dataclass(frozen=True, slots=True)
class ExpiringSources:
    """Where the facts come from that are no store's."""

    authorities: Callable[[], AuthoritySet]
    evidence: Callable[[], EvidenceView]
    failure: Callable[[Pod], str]
    """Why a pod's leaf was not renewed."""
    serving: Callable[[], tuple[Mapping[str, Life], str]]
    """The operator's own certificates by role, and why they were not renewed."""
    trust_domain: Callable[[], Regarding]
    paused: Callable[[], bool] = lambda: False
    """Whether rotation is."""
    refused: Callable[[], str] = lambda: ""
    """What is wrong with the external issuer's Secret; empty: nothing."""
    revoked: Callable[[Pod], str] = lambda _pod: ""
    """Why a pod is to have no certificate; empty: it may have one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that ends."""

    sort: str
    """`leaf`, `authority`, `issuer` or `serving`."""
    key: str
    """Names the certificate for ever."""
    ends: datetime
    within: Within
    regarding: Regarding
    notice: Callable[[], Notice]
    """Made for those that are told: of a hundred thousand that end at once, most are only counted."""


class Expiring:
    """Looks each minute."""

    def __init__(
        self,
        pods: Store[Pod],
        secrets: Store[SecretMeta],
        sources: ExpiringSources,
        *,
        say: Say,
        registry: Registry,
        time: Time | None = None,
    ) -> None:
        self._pods, self._secrets, self._sources = pods, secrets, sources
        self._say = say
        self._time = time or SystemTime()
        self._told: set[tuple[str, Within]] = set()
        """By certificate; those that are well again are forgotten."""
        self._expiring = metrics.EXPIRING.of(registry)
        self._ends = metrics.AUTHORITY_ENDS.of(registry)
        self._serving = metrics.SERVING_ENDS.of(registry)
        self._known: set[tuple[str, str, str]] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await wait_until(self._time, self._time.now() + LOOK)

    async def look(self) -> None:
        """Judge all that is there now; tell what was not told, and count."""
        now = self._time.now()
        found = [*self._own(now), *await self._leaves(now)]
        self._tell(found)
        counts = Counter((each.sort, each.within) for each in found)
        for sort in (LEAF, AUTHORITY, ISSUER, SERVING):
            for within in Within:
                self._expiring.labels(sort, within).set(counts[sort, within])
        self._set_ends(self._sources.authorities())

    def _tell(self, found: list[Finding]) -> None:
        current = {(each.key, each.within) for each in found}
        self._told &= current
        news = [each for each in found if (each.key, each.within) not in self._told]
        for each in sorted(news, key=lambda finding: finding.ends)[:MOST_TOLD]:
            self._told.add((each.key, each.within))
            notice = each.notice()
            self._say(each.regarding, "Warning", notice.reason, notice.note)

    def _set_ends(self, authorities: AuthoritySet) -> None:
        ends = {
            (each.name, each.state.value, source_of(each)): life_of(each).ends.timestamp()
            for each in authorities.authorities
            if each.state is not AuthorityState.RETIRED
        }
        if not any(state == AuthorityState.ACTIVE for _, state, _ in ends):
            ends[NOBODY, AuthorityState.ACTIVE.value, ""] = 0
        for gone in self._known - ends.keys():
            self._ends.remove(*gone)
        self._known = set(ends)
        for labels, at in ends.items():
            self._ends.labels(*labels).set(at)
        for role, life in self._sources.serving()[0].items():
            self._serving.labels(role).set(life.ends.timestamp())

    # --- what the operator signs with, and what it serves with

    def _own(self, now: datetime) -> Iterator[Finding]:
        authorities, regarding = self._sources.authorities(), self._sources.trust_domain()
        for each in authorities.authorities:
            life, replaced = life_of(each), is_replaced(each, authorities)
            within = authority_within(now, life, replaced=replaced)
            if within is None or each.state is AuthorityState.RETIRED:
                continue
            if source_of(each) == SELF_SIGNED:
                paused = self._sources.paused()
                notice = partial(authority_notice, within, name=each.name, life=life, replaced=replaced, paused=paused)
                yield Finding(AUTHORITY, each.serial, life.ends, within, regarding, notice)
            else:
                notice = partial(issuer_notice, within, name=each.name, life=life, why=self._sources.refused())
                yield Finding(ISSUER, each.serial, life.ends, within, regarding, notice)
        lives, failure = self._sources.serving()
        for role, life in lives.items():
            within = leaf_within(now, life, life.left(2))
            if within is not None:
                notice = partial(serving_notice, within, role=role, life=life, why=failure)
                yield Finding(SERVING, f"{role}/{format_time(life.ends)}", life.ends, within, regarding, notice)

    # --- pods

    async def _leaves(self, now: datetime) -> list[Finding]:
        found: list[Finding] = []
        reports = self._sources.evidence().pods
        doubtful = await self._doubtful(format_time(now), reports)
        if not doubtful:
            return found
        for number, pod in enumerate(list(self._pods), 1):
            if number % BATCH == 0:
                await asyncio.sleep(0)
            meta = doubtful.get((pod.namespace, pod.secret))
            if meta is None or pod.uid not in meta.owner_uids or pod.terminal or pod.deleting:
                continue
            if self._sources.revoked(pod):
                continue  # its leaf is meant to end
            finding = self._leaf(now, pod, meta, reports.get(pod.uid))
            if finding is not None:
                found.append(finding)
        return found

    async def _doubtful(self, now: str, reports: Mapping[str, PodReport]) -> dict[Key, SecretMeta]:
        """Secrets whose leaf is due for renewal, or is not the one that their sidecar runs with.

        Of most this is all that is looked at: times of one form are compared as text, ten times faster than as times.
        """
        found: dict[Key, SecretMeta] = {}
        for number, meta in enumerate(list(self._secrets), 1):
            if number % BATCH == 0:
                await asyncio.sleep(0)
            said = meta.annotations
            if now < said.get(ANNOTATION_RENEW_AT, "") and meta.owner_uids:
                report = reports.get(meta.owner_uids[0])
                if report is None or report.serial == said.get(ANNOTATION_SERIAL):
                    continue
            found[meta.key] = meta
        return found

    def _leaf(self, now: datetime, pod: Pod, meta: SecretMeta, report: PodReport | None) -> Finding | None:
        try:
            serial = meta.annotations[ANNOTATION_SERIAL]
            life = Life(*(parse_time(meta.annotations[name]) for name in (ANNOTATION_ISSUED_AT, ANNOTATION_NOT_AFTER)))
            due = parse_time(meta.annotations[ANNOTATION_RENEW_AT])
        except (KeyError, ValueError):
            return None  # the issuer is about to write them anew
        secret = f"{meta.namespace}/{meta.name}"
        within = leaf_within(now, life, due)
        if within is not None:
            why = self._sources.failure(pod)
            notice = partial(leaf_notice, within, secret=secret, serial=serial, life=life, why=why)
            return Finding(LEAF, serial, life.ends, within, about_pod(pod), notice)
        loaded = reported_life(report) if report is not None and report.serial != serial else None
        if report is None or loaded is None or not pod.proxy_running or now < life.begins + PROJECTION:
            return None
        within = leaf_within(now, loaded, renew_at(loaded.begins, loaded.ends, pod.uid))
        if within is None or loaded.ends > life.ends:
            return None
        notice = partial(loaded_notice, within, secret=secret, serial=report.serial, life=loaded, since=life.begins)
        return Finding(LEAF, report.serial, loaded.ends, within, about_pod(pod), notice)


def reported_life(report: PodReport) -> Life | None:
    """Of the leaf that a sidecar runs with; None where it does not tell, or not in words that can be read."""
    try:
        return Life(parse_time(report.not_before) + BACKDATE, parse_time(report.not_after))
    except ValueError:
        return None


def source_of(authority: Authority) -> str:
    """`selfSigned`, or `secretRef` for the copy of an external issuer."""
    return EXTERNAL if authority.source else SELF_SIGNED


def life_of(authority: Authority) -> Life:
    """Of what its leaves rest on: until the first of its certificates ends."""
    begins = authority.certificate.not_valid_before_utc
    return Life(begins if authority.source else begins + BACKDATE, authority.ends)


def is_replaced(authority: Authority, authorities: AuthoritySet) -> bool:
    """Whether another one is to sign in its place, or does already."""
    if authority.state is not AuthorityState.ACTIVE:
        return authority.state is AuthorityState.DRAINING
    coming = (AuthorityState.PREPARED, AuthorityState.DISTRIBUTED)
    return any(each.state in coming for each in authorities.authorities) or authorities.active is not authority
