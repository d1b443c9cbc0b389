"""Gives every meshed pod its Secret, and keeps it right.

`agenda` says which pod to look at, `issuance` decides, `secret_writer` carries it out.
"""

import asyncio
import logging
from datetime import timedelta
from typing import Final, assert_never

import aiohttp

from handfast_operator.authority.authority import AuthoritySet
from handfast_operator.authority.schedule import drain_at, retry_after
from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.objects import Key, Pod, SecretMeta
from handfast_operator.cluster.store import Store
from handfast_operator.controller.agenda import Agenda
from handfast_operator.controller.config import ConfigSource, Wanted
from handfast_operator.controller.identity_secret import identity_of
from handfast_operator.controller.issuance import (
    ANNOTATION_SERIAL,
    Facts,
    Issue,
    Leave,
    Reconfigure,
    Refuse,
    Verify,
    Wait,
    decide,
    read_annotations,
)
from handfast_operator.controller.issuer_metrics import IssuerMetrics
from handfast_operator.controller.issuer_news import EventSink, IssuerNews, pod_name
from handfast_operator.controller.secret_writer import Api, SecretWriter
from handfast_operator.controller.timing import Allowance, Pace, SystemTime, Time, TokenBucket, Window
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.revocation import no_leaf, serials
from handfast_sidecar.errors import HandfastError
from handfast_sidecar.identity.revocation import Revocation
from handfast_sidecar.observe.metrics import Registry

log = logging.getLogger(__name__)

REFUSED_AGAIN: Final = timedelta(seconds=10)
"""A refused pod is looked at again after this: the watch has our label, so it tells nothing of a Secret in the way."""


class IdentityRevoked(HandfastError):
    """No leaf is issued for an identity that nobody trusts."""


class Issuer:
    """The Secrets of all pods."""

    def __init__(
        self,
        api: Api,
        pods: Store[Pod],
        secrets: Store[SecretMeta],
        index: PolicyIndex,
        config: ConfigSource,
        authorities: AuthoritySet,
        *,
        event: EventSink,
        registry: Registry,
        time: Time | None = None,
        pace: Pace | None = None,
    ) -> None:
        """Both stores must have their first list before `run`."""
        self._pods, self._index, self._config = pods, index, config
        self._authorities = authorities
        self._time = time or SystemTime()
        self._pace = pace or Pace()
        self._bucket = TokenBucket(self._pace.rate, self._pace.burst, self._time)
        window = Window(self._pace.in_flight, self._time)
        self._writer = SecretWriter(api, secrets, self._bucket, self._time, window)
        self._agenda = Agenda(pods, secrets, self._writer, self._time, self._forgotten)
        self.queue = self._agenda.queue
        self._allowance: Allowance[Key] = Allowance(self._time)
        self._metrics = IssuerMetrics(registry, lambda: len(self.queue))
        self._news = IssuerNews(event, self._metrics)

    async def run(self) -> None:
        """Work until cancelled."""
        self._agenda.begin(self._index, self._config)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._pace.in_flight):
                group.create_task(self._work())

    def revocations_changed(self) -> None:
        """Replace what is revoked before anything else, and tell all of who is."""
        revoked = serials(self._config.revoked.entries)
        for pod in self._pods:
            meta = self._writer.meta(pod) if pod.meshed else None
            if meta is not None and meta.annotations.get(ANNOTATION_SERIAL) in revoked:
                self._agenda.look_at(pod.key, urgent=True)
        self._agenda.look_at_all()

    def authorities_changed(self, authorities: AuthoritySet) -> None:
        """Sign with and publish these from now on."""
        self._authorities = authorities
        self._agenda.look_at_all()

    def failure(self, pod: Pod) -> str:
        """Why the pod's Secret could not be brought in order the last time; empty: it was, or nobody has tried."""
        return self._news.failure(pod)

    def _forgotten(self, pod: Pod) -> None:
        self._news.forget(pod)
        self._allowance.forget(pod.key)

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                pod = self._pods.get(*key)
                if pod is not None:
                    await self._attend(pod)
                else:
                    self._agenda.done(key)
            finally:
                self.queue.done(key)

    async def _attend(self, pod: Pod) -> None:
        """Bring a pod's Secret to rest, or come back to it later."""
        try:
            await self._settle(pod)
        except ApiError as error:
            # Otherwise each of ten thousand pods would learn by a call of its own that there are too many calls.
            self._bucket.hold(timedelta(seconds=error.retry_after_s))
            self._retry(pod, error.reason or str(error.status), error.message, tell=error.status in range(400, 429))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._retry(pod, "unreachable", f"{type(error).__name__}: {error}", tell=False)
        except HandfastError as error:
            self._retry(pod, type(error).__name__, str(error), tell=True)
        except Exception as error:
            # One pod that we cannot handle must not end the issuing of all others.
            log.exception("leaf not issued: a defect of the operator", extra={"pod": pod_name(pod)})
            self._retry(pod, "defect", type(error).__name__, tell=True)
        else:
            self._news.attended(pod)

    async def _settle(self, pod: Pod) -> None:
        meta = self._writer.meta(pod)
        while True:
            wanted = self._config.wanted(pod)
            decision = decide(self._time.now(), pod, meta, self._facts(pod, wanted))
            match decision:
                case Wait():
                    self._news.in_order(pod)
                    self._agenda.arm(pod.key, decision.until)
                    return
                case Leave():
                    self._agenda.forget(pod)
                    return
                case Refuse():
                    self._news.refused(pod, decision)
                    self._agenda.arm(pod.key, self._time.now() + REFUSED_AGAIN)
                    return
                case Issue() | Reconfigure() | Verify():
                    free_at = self._allowance.take(pod.key)
                    if free_at is not None:
                        self._news.unstable(pod)
                        self._agenda.arm(pod.key, free_at)
                        return
                    meta = await self._act(decision, pod, meta, wanted)
                case _:
                    assert_never(decision)

    async def _act(
        self, decision: Issue | Reconfigure | Verify, pod: Pod, meta: SecretMeta | None, wanted: Wanted
    ) -> SecretMeta | None:
        """Carry out a decision; what is known of the Secret afterwards."""
        try:
            if isinstance(decision, Issue):
                return await self._issue(pod, meta, wanted, decision.reason)
            found = await self._writer.reconcile(pod, self._authorities, wanted)
            if found.damage:
                if self._revocation(pod) is not None:
                    raise IdentityRevoked(self.why_revoked(pod))
                self._news.damaged(pod, found.damage)
                return await self._issue(pod, found.meta, wanted, "damaged")
            if found.rewritten:
                self._metrics.rewritten.labels(decision.reason).inc()
            return found.meta
        except ApiError as error:
            if error.status == 422 and meta is not None:
                # Somebody made it immutable, or of another type: it is the pod's, so it is made anew.
                await self._writer.remove(meta)
                return None
            if error.status not in (404, 409):
                raise
            if error.status == 404 and meta is None:
                raise  # the namespace is gone
            return await self._writer.look(pod)

    async def _issue(self, pod: Pod, meta: SecretMeta | None, wanted: Wanted, reason: str) -> SecretMeta:
        written = await self._writer.issue(pod, meta, self._authorities, wanted, reason)
        self._news.issued(pod, meta, reason)
        asked_at = self._agenda.done(pod.key)
        if asked_at is not None:
            self._metrics.took(self._time.now() - asked_at)
        return written

    def _facts(self, pod: Pod, wanted: Wanted) -> Facts:
        return Facts(
            issuers=self._authorities.issuers,
            bundle=self._authorities.fingerprint,
            config=wanted.digest,
            ttl=wanted.ttl,
            trusted_version=self._writer.trusted_version(pod),
            draining={
                serial: drain_at(since, len(self._agenda), pod.uid)
                for serial, since in self._authorities.draining.items()
            },
            revoked=serials(wanted.config.revoked.entries),
            identity_revoked=self.why_revoked(pod),
        )

    def _revocation(self, pod: Pod) -> Revocation | None:
        """What revokes the pod's identity now."""
        revoked = self._config.revoked
        if not revoked.entries:
            return None
        identity = identity_of(self._authorities.trust_domain, pod)
        return revoked.of(identity, "", self._time.now().timestamp())

    def why_revoked(self, pod: Pod) -> str:
        """Why the pod's identity gets no leaf; empty: it gets one."""
        revocation = self._revocation(pod)
        if revocation is None:
            return ""
        return no_leaf(revocation)

    def _retry(self, pod: Pod, reason: str, message: str, *, tell: bool) -> None:
        failures = self._news.failed(pod, reason, message)
        now, meta = self._time.now(), self._writer.meta(pod)
        recorded = read_annotations(meta) if meta is not None else None
        delay = retry_after(failures, recorded.not_after - now if recorded is not None else None)
        self._news.trying_again(pod, reason, message, delay, tell=tell)
        self._agenda.arm(pod.key, now + delay)
