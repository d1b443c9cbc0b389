"""Pods that a final policy does not hold for, because they go around their sidecar or have none. Pure.

Annotations and labels count when a pod is created, so such pods may be older than the policy: they keep running, and
are named until they have been restarted.
"""

from collections.abc import Sequence
from typing import Final

from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.workload import workload_of
from handfast_operator.policy.final import Demand, demands, is_final
from handfast_operator.policy.words import some
from handfast_operator.resources.conditions import Condition
from handfast_operator.resources.policies import Policy

MOST_NAMED: Final = 10
"""Workloads in a message."""


def evaded(policy: Policy, selected: Sequence[tuple[Pod, Sequence[Policy]]]) -> tuple[Condition, ...]:
    """The condition `Evaded` of a final policy; others have none. `selected`: its pods, each with its chain."""
    if not is_final(policy):
        return ()
    asked = {id(chain): [each for each in demands(chain) if each.origin == policy.origin] for _pod, chain in selected}
    annotations: dict[str, set[str]] = {}
    count = 0
    for pod, chain in selected:
        found = evasions(pod, asked[id(chain)])
        if found:
            count += 1
            annotations.setdefault(str(workload_of(pod)), set()).update(name for _demand, name in found)
    if not count:
        return (Condition("Evaded", False, "NoPodGoesAround", "No pod goes around it by its annotations."),)
    told = [f"{workload} ({', '.join(sorted(names))})" for workload, names in sorted(annotations.items())]
    which = (
        "1 pod is older than what the policy demands and goes"
        if count == 1
        else (f"{count} pods are older than what the policy demands and go")
    )
    return (
        Condition(
            "Evaded",
            True,
            "PodsGoAround",
            f"{which} around it, by annotations: {some(told, MOST_NAMED)}. Remove the annotations, and restart"
            " the pods.",
        ),
    )


def evasions(pod: Pod, asked: Sequence[Demand]) -> list[tuple[Demand, str]]:
    """Each annotation by which a pod goes around what final policies demand, with the demand."""
    return [(demand, name) for demand in asked for name in pod.around if name in demand.forbids]


def named_workloads(pods: Sequence[Pod]) -> str:
    """Whose pods they are, sorted, so that the same pods give the same sentence."""
    return some(sorted({str(workload_of(pod)) for pod in pods}), MOST_NAMED)
