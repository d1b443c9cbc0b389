"""Pods that opted in and have no sidecar, or an old one, and pods for which a final policy does not hold: their owners
are told, in an Event with the remedy.

At admission there is no pod yet that an Event could be about, so the controller says it afterwards: one Event for all
pods that one owner made, and again while it is so, because Events are forgotten after an hour and such pods live on.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from handfast_operator.admission.refusals import opted_in, skip_reason_of
from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.cluster.workload import workload_of
from handfast_operator.controller.events import AGAIN, Regarding, about_workload
from handfast_operator.policy.compile import policy_chain
from handfast_operator.policy.evasion import evasions
from handfast_operator.policy.final import Demand, demands
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.policies import ClusterMtlsPolicy
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.wellknown import INJECT_DISABLED, LABEL_INJECT

NOT_INJECTED: Final = "NotInjected"
OPTED_OUT: Final = "OptedOut"
GOES_AROUND: Final = "GoesAroundFinalPolicy"
Say = Callable[[Regarding, str, str, str], None]


def report(pod: Pod, namespace_labels: Labels, operator_namespace: str, sidecar_image: str) -> tuple[str, str] | None:
    """A reason and a sentence about a pod; None: all is as its owner expects. Pure."""
    if pod.terminal or pod.deleting:
        return None
    if pod.meshed:
        if pod.proxy_image != sidecar_image:
            return (
                "OldSidecar",
                (
                    f"the sidecar runs {pod.proxy_image}, new pods get {sidecar_image}: restart it when it suits you "
                    f"({workload_of(pod).restart})"
                ),
            )
        return None
    if not opted_in(pod.labels, namespace_labels):
        return None
    skipped = skip_reason_of(pod, namespace_labels, operator_namespace)
    if skipped is not None:
        return (NOT_INJECTED, f"the pod has no sidecar, because {skipped}")
    return (
        NOT_INJECTED,
        (
            "the pod opted in but has no sidecar: it is older than the label, or was created while handfast-webhook "
            "was not installed or not asked (failurePolicy other than Fail); its traffic is not encrypted: restart it "
            f"({workload_of(pod).restart})"
        ),
    )


def report_against(pod: Pod, demanded: Sequence[Demand]) -> tuple[str, str] | None:
    """The same about a pod of a namespace of which final policies demand something. Pure."""
    if pod.terminal or pod.deleting or not demanded:
        return None
    first = demanded[0]
    if not pod.meshed and pod.labels.get(LABEL_INJECT) == INJECT_DISABLED:
        return (
            OPTED_OUT,
            (
                f"the pod has the label {LABEL_INJECT}={INJECT_DISABLED} and no sidecar, but {first.origin}, which may "
                f"not be overridden, demands {first.says} of this namespace: its traffic is neither encrypted nor "
                f"refused; remove the label and restart it ({workload_of(pod).restart})"
            ),
        )
    found = evasions(pod, demanded)
    if not found:
        return None
    demand, _name = found[0]
    names = ", ".join(dict.fromkeys(name for _demand, name in found))
    return (
        GOES_AROUND,
        (
            f"the pod was created with {names}, by which its traffic goes around the sidecar, but {demand.origin}, "
            f"which may not be overridden, demands {demand.says} of this namespace: remove it and restart the pod "
            f"({workload_of(pod).restart})"
        ),
    )


class Reports:
    """Tells of each pod as it appears, of a namespace's pods when its labels change, and of all of them each hour."""

    def __init__(
        self,
        pods: Store[Pod],
        namespaces: Store[Namespace],
        index: PolicyIndex,
        operator_namespace: str,
        sidecar_image: str,
        say: Say,
    ) -> None:
        self._pods = pods
        self._index = index
        self._operator_namespace = operator_namespace
        self._sidecar_image = sidecar_image
        self._say = say
        pods.subscribe(self._pod_changed)
        namespaces.subscribe(self._namespace_changed)
        index.cluster_policies.subscribe(self._cluster_policy_changed)

    def look(self, pod: Pod) -> None:
        """Say what is to be said of a pod."""
        labels = self._index.namespace_labels(pod.namespace)
        found = report(pod, labels, self._operator_namespace, self._sidecar_image)
        if found is not None:
            self._say(about_workload(pod), "Warning" if found[0] == NOT_INJECTED else "Normal", *found)
        self._look_at_finals(pod, labels)

    def _look_at_finals(self, pod: Pod, labels: Labels) -> None:
        if pod.meshed and not pod.around:
            return  # nearly all pods, and a policy of the cluster looks at every one
        chain = policy_chain(pod.namespace, {}, labels, self._index.policies)
        found = report_against(pod, demands(chain))
        if found is not None:
            self._say(about_workload(pod), "Warning", *found)

    async def run(self) -> None:
        """Say again what is still so, until cancelled."""
        while True:
            await asyncio.sleep(AGAIN.total_seconds())
            for pod in list(self._pods):
                self.look(pod)

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if after is not None and (before is None or before.uid != after.uid):
            self.look(after)

    def _namespace_changed(self, before: Namespace | None, after: Namespace | None) -> None:
        if after is not None and (before is None or before.labels != after.labels):
            for pod in self._index.pods_of(after.name):
                self.look(pod)

    def _cluster_policy_changed(self, before: ClusterMtlsPolicy | None, after: ClusterMtlsPolicy | None) -> None:
        if after is None or after.overridable or (before is not None and before.generation == after.generation):
            return
        for pod in list(self._pods):
            self._look_at_finals(pod, self._index.namespace_labels(pod.namespace))
