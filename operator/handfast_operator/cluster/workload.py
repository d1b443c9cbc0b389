"""What a pod belongs to, as its owner knows it: a Deployment and not its ReplicaSet. Pure."""

from dataclasses import dataclass
from typing import Final

from handfast_operator.cluster.objects import Pod

_TEMPLATE_HASH: Final = "pod-template-hash"
"""The label by which a Deployment names its ReplicaSets: DEPLOYMENT-HASH."""
_RESTARTABLE: Final = frozenset({"Deployment", "DaemonSet", "StatefulSet"})
"""What `kubectl rollout restart` takes."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Who makes pods; a pod that nobody made is its own."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def restart(self) -> str:
        """How its owner gets new pods."""
        if self.kind in _RESTARTABLE:
            return f"kubectl rollout restart {self.kind.lower()}/{self.name} -n {self.namespace}"
        if self.kind == "Pod":
            return "delete the pod and create it again"
        return f"delete the pod, so that {self.kind} {self.name} makes another"


def workload_of(pod: Pod) -> Workload:
    """By its controller; a Deployment by the name that it gave its ReplicaSet."""
    kind, _, name = pod.owner.partition("/")
    if not name:
        return Workload("Pod", pod.namespace, pod.name)
    suffix = f"-{pod.labels.get(_TEMPLATE_HASH, '')}"
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        return Workload("Deployment", pod.namespace, name.removesuffix(suffix))
    return Workload(kind, pod.namespace, name)
