"""Pods that would go around what a final policy demands: refused. Pure.

The one rule: it is judged by what the API server says at that moment, never by memory: such pods are few, and one that
is let in by mistake goes around the policy for as long as it lives.
"""

from collections.abc import Iterable, Mapping

from handfast_operator.admission.annotations import SKIPS
from handfast_operator.policy.final import Demand
from handfast_sidecar.wellknown import ANNOTATION_INTERCEPTION, INTERCEPTION_REDIRECT


def goes_around(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """The annotations by which a pod's traffic would not pass its sidecar."""
    names = [name for name in SKIPS if annotations.get(name, "").strip()]
    if annotations.get(ANNOTATION_INTERCEPTION, INTERCEPTION_REDIRECT) != INTERCEPTION_REDIRECT:
        names.append(ANNOTATION_INTERCEPTION)
    return tuple(names)


def final_refusal(annotations: Mapping[str, str], demands: Iterable[Demand]) -> str | None:
    """Why a pod may not be created under these final policies; None: it may."""
    for demand in demands:
        for name in goes_around(annotations):
            if name in demand.forbids:
                return (
                    f"its annotation {name} is {annotations[name][:80]!r}, by which traffic goes around its sidecar, "
                    f"but {demand.origin}, which may not be overridden, demands {demand.says} of every pod of this "
                    "namespace: remove the annotation, or ask those who run the cluster to leave the namespace out of "
                    "that policy (spec.namespaceSelector)"
                )
    return None
