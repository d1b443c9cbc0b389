"""Whether pods have the sidecar that they were to have, and it is heard of."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import DEPLOYMENTS, Asked, Facts
from handfast_operator.checks.finding import Level, Problem, error, warning
from handfast_operator.checks.parts import sidecar_image
from handfast_operator.cluster.kinds import NAMESPACES, PODS
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.workload import Workload, workload_of
from handfast_operator.controller.reports import NOT_INJECTED, report
from handfast_operator.resources.times import parse_time

SILENT: Final = timedelta(seconds=60)
"""Sidecars report every ten seconds."""


def new_image(facts: Facts) -> str:
    """What new pods get; empty where the webhook's Deployment is not there."""
    webhook = facts.named(DEPLOYMENTS, "handfast-webhook")
    return sidecar_image(webhook) if webhook is not None else ""


def lagging(facts: Facts) -> list[tuple[Pod, str, str]]:
    """Pods that opted in and have no sidecar, or another one than new pods get: each with the reason and a sentence."""
    image, found = new_image(facts), list[tuple[Pod, str, str]]()
    for pod in facts.pods:
        namespace = facts.namespaces.get(pod.namespace)
        labels = namespace.labels if namespace is not None else {}
        told = report(pod, labels, facts.namespace, image or pod.proxy_image)
        if told is not None:
            found.append((pod, *told))
    return found


def _without(facts: Facts) -> Iterator[Problem]:
    for workload, pods, sentence in _by_workload(facts, NOT_INJECTED):
        # Who is in the node's network is so on purpose, and the webhook says so at its creation.
        level = Level.WARNING if all(pod.host_network for pod in pods) else Level.ERROR
        message, remedy = _parted(sentence)
        yield Problem(level, str(workload), f"{_count(pods)}: {message}", remedy)


def _old(facts: Facts) -> Iterator[Problem]:
    for workload, pods, sentence in _by_workload(facts, "OldSidecar"):
        message, remedy = _parted(sentence)
        yield warning(str(workload), f"{_count(pods)}: {message}", remedy)


def _by_workload(facts: Facts, reason: str) -> Iterable[tuple[Workload, list[Pod], str]]:
    found: dict[str, tuple[Workload, list[Pod], str]] = {}
    for pod, why, sentence in lagging(facts):
        if why == reason:
            workload = workload_of(pod)
            found.setdefault(f"{workload} {sentence}", (workload, [], sentence))[1].append(pod)
    return found.values()


def _parted(sentence: str) -> tuple[str, str]:
    """What happened, and what to do: the reconciler tells both in one sentence."""
    message, _, remedy = sentence.rpartition(": ")
    return (message, remedy) if message else (sentence, "")


def _count(pods: list[Pod]) -> str:
    return "1 pod" if len(pods) == 1 else f"{len(pods)} pods"


def silent(facts: Facts) -> list[Pod]:
    """Pods whose sidecar runs, and was not heard for a minute."""
    if facts.evidence is None:
        return []
    since = {each["metadata"]["uid"]: (each.get("status") or {}).get("startTime") for each in facts.of(PODS)}
    found = []
    for pod in facts.pods:
        started = since.get(pod.uid)
        if not pod.meshed or not pod.proxy_running or pod.terminal or pod.deleting or not started:
            continue
        said = facts.evidence.pods.get(pod.uid)
        heard = said.at if said is not None else 0.0
        if min(facts.at.timestamp() - heard, (facts.at - parse_time(started)).total_seconds()) > SILENT.total_seconds():
            found.append(pod)
    return found


def _unheard(facts: Facts) -> Iterator[Problem]:
    found: dict[str, tuple[Workload, list[Pod]]] = {}
    for pod in silent(facts):
        workload = workload_of(pod)
        found.setdefault(str(workload), (workload, []))[1].append(pod)
    for workload, pods in found.values():
        yield error(
            str(workload),
            f"the sidecar of {_count(pods)} runs and was not heard of for a minute, of {pods[0].name} first: it is told"
            " of no change, and a rotation waits for it",
            f"handfast certs {pods[0].namespace}/{pods[0].name}; kubectl logs -n {pods[0].namespace} {pods[0].name} -c"
            " handfast-proxy --tail=20; does a NetworkPolicy keep it from port 14010 of handfast-directory?",
        )


WITHOUT = Check("pods-without-sidecar", lambda _facts: "every pod that opted in has one", _without, (PODS, NAMESPACES))
OLD = Check("old-sidecars", lambda _facts: "every sidecar is of this version", _old, (PODS, NAMESPACES, DEPLOYMENTS))
UNHEARD = Check(
    "silent-sidecars", lambda _facts: "every sidecar reports to the directory", _unheard, (PODS, Asked.EVIDENCE)
)
