"""Pods that opted in and have no sidecar, or an old one: their owners are told, in an Event with the remedy.

At admission there is no pod yet that an Event could be about, so the controller says it afterwards.
"""

from collections.abc import Callable

from handfast_operator.admission.refusals import opted_in, skip_reason
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller.events import Regarding, about_pod
from handfast_operator.resources.selectors import Labels

Say = Callable[[Regarding, str, str, str], None]


def report(pod: Pod, namespace_labels: Labels, operator_namespace: str, sidecar_image: str) -> tuple[str, str] | None:
    """A reason and a sentence about a pod; None: all is as its owner expects. Pure."""
    if pod.terminal or pod.deleting:
        return None
    if pod.meshed:
        if pod.proxy_image != sidecar_image:
            return (
                "OldSidecar",
                f"the sidecar runs {pod.proxy_image}, new pods get {sidecar_image}: restart the pod when it suits you",
            )
        return None
    if not opted_in(pod.labels, namespace_labels):
        return None
    skipped = skip_reason(
        pod.namespace,
        operator_namespace,
        pod.labels,
        namespace_labels,
        host_network=pod.host_network,
        mirror=pod.mirror,
    )
    if skipped is not None:
        return ("NotInjected", f"the pod has no sidecar, because {skipped}")
    return (
        "NotInjected",
        (
            "the pod opted in but has no sidecar: it is older than the label, or was created while Handfast was being "
            "installed; restart it (kubectl rollout restart, or delete the pod)"
        ),
    )


class Reports:
    """Tells of each pod as it appears, and of a namespace's pods when its labels change."""

    def __init__(
        self,
        pods: Store[Pod],
        labels_of: Callable[[str], Labels],
        operator_namespace: str,
        sidecar_image: str,
        say: Say,
    ) -> None:
        self._labels_of = labels_of
        self._operator_namespace = operator_namespace
        self._sidecar_image = sidecar_image
        self._say = say
        pods.subscribe(self._pod_changed)

    def look(self, pod: Pod) -> None:
        """Say what is to be said of a pod."""
        found = report(pod, self._labels_of(pod.namespace), self._operator_namespace, self._sidecar_image)
        if found is not None:
            self._say(about_pod(pod), "Warning" if found[0] == "NotInjected" else "Normal", *found)

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if after is not None and before is None:
            self.look(after)
