"""How many sidecars there are and do what they should: the state of the mesh where nobody can scrape every pod."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from handfast_operator import metrics
from handfast_operator.admission.refusals import skip_reason_of
from handfast_operator.authority.gates import SILENT
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller.timing import SystemTime, Time, wait_until
from handfast_operator.evidence.view import EvidenceView, PodReport
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.observe.metrics import Registry

LOOK: Final = timedelta(seconds=30)
BATCH: Final = 2_000
"""Pods looked at at a time, a few milliseconds: the loop has other work."""
REPORTING, SILENT_ONE, STARTING, WITHOUT = "reporting", "silent", "starting", "without_sidecar"


def state_of(
    pod: Pod, namespace_labels: Labels, operator_namespace: str, report: PodReport | None, now: float
) -> str | None:
    """How a pod's sidecar does, at a Unix time; None: it needs none. Pure."""
    if pod.terminal or pod.deleting:
        return None
    if pod.meshed:
        if not pod.proxy_running:
            return STARTING
        return REPORTING if report is not None and now - report.at <= SILENT.total_seconds() else SILENT_ONE
    return WITHOUT if skip_reason_of(pod, namespace_labels, operator_namespace) is None else None


class SidecarCounts:
    """Counts twice a minute."""

    def __init__(
        self,
        pods: Store[Pod],
        index: PolicyIndex,
        evidence: Callable[[], EvidenceView],
        operator_namespace: str,
        sidecar_image: str,
        registry: Registry,
        time: Time | None = None,
    ) -> None:
        self._pods, self._index, self._evidence = pods, index, evidence
        self._operator_namespace, self._sidecar_image = operator_namespace, sidecar_image
        self._time = time or SystemTime()
        self._states = metrics.PODS.of(registry)
        self._old = metrics.OLD_SIDECARS.of(registry)

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            await self.look()
            await wait_until(self._time, self._time.now() + LOOK)

    async def look(self) -> None:
        """Count all that are there now."""
        reports: Mapping[str, PodReport] = self._evidence().pods
        now, old, states = self._time.now().timestamp(), 0, Counter[str]()
        for number, pod in enumerate(list(self._pods), 1):
            if number % BATCH == 0:
                await asyncio.sleep(0)
            labels = self._index.namespace_labels(pod.namespace)
            state = state_of(pod, labels, self._operator_namespace, reports.get(pod.uid), now)
            if state is not None:
                states[state] += 1
                old += pod.meshed and pod.proxy_image != self._sidecar_image
        for state in (REPORTING, SILENT_ONE, STARTING, WITHOUT):
            self._states.labels(state).set(states[state])
        self._old.set(old)
