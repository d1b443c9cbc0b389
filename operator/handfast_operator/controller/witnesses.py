"""Whom a root rotation waits for, as the evidence and the API server show them. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from handfast_operator.authority.gates import Witness
from handfast_operator.cluster.objects import Pod
from handfast_operator.evidence.view import EvidenceView, PodReport


def sidecars(pods: Iterable[Pod], view: EvidenceView) -> Sequence[Witness]:
    """Every sidecar that lives, or will begin with files that it may have been given already."""
    return [
        _witness(pod, view.pods.get(pod.uid)) for pod in pods if pod.meshed and not pod.terminal and _has_files(pod)
    ]


def _has_files(pod: Pod) -> bool:
    """One that has no node yet will be given what its Secret holds by then."""
    return pod.proxy_running or bool(pod.node)


def _witness(pod: Pod, report: PodReport | None) -> Witness:
    name, running = f"{pod.namespace}/{pod.name}", pod.proxy_running
    if report is None:
        return Witness(name, running=running, deleting=pod.deleting)
    return Witness(
        name,
        datetime.fromtimestamp(report.at, UTC),
        report.bundle,
        report.issuers,
        running=running,
        deleting=pod.deleting,
    )
