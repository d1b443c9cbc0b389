"""Labels that ask for a sidecar: those that nobody reads, and those of namespaces whose pods may not have one."""

import re
from collections.abc import Iterator
from typing import Final

from handfast_operator.admission.refusals import POD_SECURITY, PRIVILEGED
from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import Facts
from handfast_operator.checks.finding import Problem, error
from handfast_operator.cluster.kinds import NAMESPACES, PODS
from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.workload import workload_of
from handfast_sidecar.wellknown import (
    ANNOTATION_INTERCEPTION,
    INJECT_DISABLED,
    INJECT_ENABLED,
    INTERCEPTION_NONE,
    LABEL_INJECT,
)

_LIKE_OURS: Final = re.compile(r"(handfast[^/]*/)?(handfast[-_.]?)?(inject\w*|sidecar|mtls)", re.IGNORECASE)
"""Keys that somebody who meant ours has written."""


def _misspelt(facts: Facts) -> Iterator[Problem]:
    for namespace in facts.namespaces.values():
        for said in _wrong(namespace):
            yield error(
                f"Namespace {namespace.name}",
                f"its label {said} is not read: its pods start without a sidecar",
                f"kubectl label namespace {namespace.name} {LABEL_INJECT}={INJECT_ENABLED} --overwrite, then restart"
                " its pods",
            )
    told: set[str] = set()
    for pod in facts.pods:
        workload = workload_of(pod)
        for said in () if pod.meshed or pod.terminal else _wrong(pod):
            if f"{workload} {said}" not in told:
                told.add(f"{workload} {said}")
                yield error(
                    str(workload),
                    f"its pods have the label {said}, which is not read: they start without a sidecar",
                    f"give its pod template the label {LABEL_INJECT}: {INJECT_ENABLED}",
                )


def _wrong(holder: Namespace | Pod) -> Iterator[str]:
    for key, value in holder.labels.items():
        known = key == LABEL_INJECT and value in (INJECT_ENABLED, INJECT_DISABLED)
        ours = key == LABEL_INJECT or (_LIKE_OURS.fullmatch(key) and "handfast" in key.lower())
        if ours and not known:
            yield f"{key}={value}"


def _forbidden(facts: Facts) -> Iterator[Problem]:
    explicit = {pod.namespace for pod in facts.pods if pod.meshed and ANNOTATION_INTERCEPTION in pod.around}
    for namespace in facts.namespaces.values():
        level = namespace.labels.get(POD_SECURITY, PRIVILEGED)
        opted_in = namespace.labels.get(LABEL_INJECT) == INJECT_ENABLED
        if opted_in and level != PRIVILEGED and namespace.name not in explicit:
            yield error(
                f"Namespace {namespace.name}",
                f"it has the label {LABEL_INJECT}={INJECT_ENABLED} and enforces the Pod Security Standard {level},"
                " which forbids NET_ADMIN, that the sidecar's init container needs: its pods are refused",
                f"annotate its pods {ANNOTATION_INTERCEPTION}={INTERCEPTION_NONE} (explicit mode, without any"
                f" privilege), or: kubectl label namespace {namespace.name} {POD_SECURITY}={PRIVILEGED} --overwrite",
            )


INJECT = Check("inject-label", lambda _facts: "every label that asks for a sidecar is read", _misspelt, (NAMESPACES,))
POD_SECURITY_CHECK = Check(
    "pod-security",
    lambda _facts: "no namespace asks for sidecars and forbids them",
    _forbidden,
    (NAMESPACES, PODS),
)
