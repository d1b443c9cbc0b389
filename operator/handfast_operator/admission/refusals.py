"""Which pods get no sidecar, and which may not start at all. Pure; each answer is a sentence for the pod's owner."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from handfast_operator.resources.selectors import Labels
from handfast_sidecar.wellknown import (
    INIT_CONTAINER,
    INJECT_DISABLED,
    INJECT_ENABLED,
    LABEL_INJECT,
    PROXY_CONTAINER,
    PROXY_UID,
    SIDECAR_PORTS,
)

Raw = Mapping[str, Any]
OURS: Final = frozenset({INIT_CONTAINER, PROXY_CONTAINER})
POD_SECURITY: Final = "pod-security.kubernetes.io/enforce"
PRIVILEGED: Final = "privileged"


def opted_in(pod_labels: Labels, namespace_labels: Labels) -> bool:
    """Whether somebody asked for a sidecar: the pod itself, or its namespace."""
    own = pod_labels.get(LABEL_INJECT)
    return own == INJECT_ENABLED or (own is None and namespace_labels.get(LABEL_INJECT) == INJECT_ENABLED)


def skip_reason(
    namespace: str,
    operator_namespace: str,
    pod_labels: Labels,
    namespace_labels: Labels,
    *,
    host_network: bool = False,
    mirror: bool = False,
    windows: bool = False,
) -> str | None:
    """Why a pod is left as it is; None: it gets a sidecar."""
    if namespace in ("kube-system", operator_namespace):
        return f"pods of the namespace {namespace} are never injected"
    if pod_labels.get(LABEL_INJECT) == INJECT_DISABLED:
        return f"the pod has the label {LABEL_INJECT}={INJECT_DISABLED}"
    if not opted_in(pod_labels, namespace_labels):
        return f"neither the pod nor its namespace has the label {LABEL_INJECT}={INJECT_ENABLED}"
    if host_network:
        return (
            "the pod uses the host's network (hostNetwork: true), whose traffic a sidecar must not redirect: "
            "give it a network of its own, or leave it outside the mesh"
        )
    if mirror:
        return "the pod is the mirror of a static pod, which the API server cannot change: create it through the API"
    if windows:
        return "the pod runs on Windows, where the sidecar does not"
    return None


def refusal(pod: Raw, namespace_labels: Labels) -> str | None:
    """Why a pod that opted in may not be created; None: it may."""
    spec = pod.get("spec") or {}
    level = namespace_labels.get(POD_SECURITY, PRIVILEGED)
    if level != PRIVILEGED:
        return (
            f"the namespace enforces the Pod Security Standard {level!r}, which forbids NET_ADMIN, and "
            f"{INIT_CONTAINER} needs it to redirect traffic: label the namespace {POD_SECURITY}={PRIVILEGED}, "
            f"or the pod {LABEL_INJECT}={INJECT_DISABLED}"
        )
    if (spec.get("securityContext") or {}).get("runAsUser") == PROXY_UID:
        return _as_proxy_user("the pod")
    for container in applications(spec):
        name = f"the container {container.get('name')!r}"
        if (container.get("securityContext") or {}).get("runAsUser") == PROXY_UID:
            return _as_proxy_user(name)
        taken = sorted({each.get("containerPort") for each in container.get("ports") or ()} & SIDECAR_PORTS)
        if taken:
            return f"{name} declares port {taken[0]}, which belongs to the sidecar: let the application use another one"
    return None


def ephemeral_refusal(pod: Raw) -> str | None:
    """Why an ephemeral container may not be added."""
    for container in (pod.get("spec") or {}).get("ephemeralContainers") or ():
        if (container.get("securityContext") or {}).get("runAsUser") == PROXY_UID:
            return _as_proxy_user(f"the ephemeral container {container.get('name')!r}")
    return None


def applications(spec: Raw) -> Iterator[Raw]:
    """Every container of a pod but ours."""
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if container.get("name") not in OURS:
            yield container


def _as_proxy_user(who: str) -> str:
    return (
        f"{who} runs as user {PROXY_UID}, which is the sidecar's: its traffic would go around the sidecar; "
        "set runAsUser to another number"
    )
