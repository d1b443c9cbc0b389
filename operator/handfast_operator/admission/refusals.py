"""Which pods get no sidecar, and which may not start at all. Pure; each answer is a sentence for the pod's owner."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from handfast_operator.cluster.objects import Pod
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.wellknown import (
    ANNOTATION_INTERCEPTION,
    CACHE_VOLUME,
    IDENTITY_VOLUME,
    INIT_CONTAINER,
    INJECT_DISABLED,
    INJECT_ENABLED,
    INTERCEPTION_NONE,
    LABEL_INJECT,
    PROXY_CONTAINER,
    PROXY_UID,
    SIDECAR_PORTS,
)

Raw = Mapping[str, Any]
OURS: Final = frozenset({INIT_CONTAINER, PROXY_CONTAINER})
_OUR_MOUNTS: Final = frozenset({IDENTITY_VOLUME, CACHE_VOLUME})
MIRROR: Final = "kubernetes.io/config.mirror"
"""The annotation of a static pod's mirror."""
POD_SECURITY: Final = "pod-security.kubernetes.io/enforce"
PRIVILEGED: Final = "privileged"


def opted_in(pod_labels: Labels, namespace_labels: Labels) -> bool:
    """Whether somebody asked for a sidecar: the pod itself, or its namespace.

    Only the exact word opts a pod out: a misspelt one must not start it in plaintext.
    """
    own = pod_labels.get(LABEL_INJECT)
    return own == INJECT_ENABLED or (own != INJECT_DISABLED and namespace_labels.get(LABEL_INJECT) == INJECT_ENABLED)


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


def skip_reason_of(pod: Pod, namespace_labels: Labels, operator_namespace: str) -> str | None:
    """The same of a pod that is there."""
    return skip_reason(
        pod.namespace,
        operator_namespace,
        pod.labels,
        namespace_labels,
        host_network=pod.host_network,
        mirror=pod.mirror,
        windows=pod.windows,
    )


def runs_on_windows(spec: Raw) -> bool:
    """By its os field, or by the nodes that it asks for."""
    selected = (spec.get("nodeSelector") or {}).get("kubernetes.io/os")
    return bool((spec.get("os") or {}).get("name") == "windows" or selected == "windows")


def refusal(pod: Raw, namespace_labels: Labels, *, redirected: bool = True) -> str | None:
    """Why a pod that opted in may not be created; None: it may. `redirected`: unless it is in explicit mode."""
    spec = pod.get("spec") or {}
    level = namespace_labels.get(POD_SECURITY, PRIVILEGED)
    if redirected and level != PRIVILEGED:
        return (
            f"its namespace enforces the Pod Security Standard {level!r}, which forbids the capability NET_ADMIN "
            f"that {INIT_CONTAINER} needs to redirect the pod's traffic: annotate the pod "
            f"{ANNOTATION_INTERCEPTION}={INTERCEPTION_NONE}, for explicit mode, which needs no privilege, label the "
            f"namespace {POD_SECURITY}={PRIVILEGED}, or leave the pod outside the mesh with the label "
            f"{LABEL_INJECT}={INJECT_DISABLED}"
        )
    if _as_proxy(spec):
        return _as_proxy_user("the pod, by its own securityContext,")
    for container in spec.get("containers") or ():
        if container.get("name") in OURS:
            return f"{_named(container)} has the name of one of the sidecar's: give it another one"
    return next((each for each in map(_container_refusal, applications(spec)) if each), None)


def ephemeral_refusal(pod: Raw) -> str | None:
    """Why an ephemeral container may not be added."""
    for container in (pod.get("spec") or {}).get("ephemeralContainers") or ():
        message = _sidecars_own(container, f"the ephemeral container {container.get('name')!r}")
        if message:
            return message
    return None


def applications(spec: Raw) -> Iterator[Raw]:
    """Every container of a pod but ours."""
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if container.get("name") not in OURS:
            yield container


def _container_refusal(container: Raw) -> str | None:
    for port in container.get("ports") or ():
        if port.get("containerPort") in SIDECAR_PORTS and port.get("protocol") in (None, "", "TCP"):
            return (
                f"{_named(container)} declares port {port['containerPort']}, which belongs to the sidecar: "
                "let the application use another one"
            )
    return _sidecars_own(container, _named(container))


def _sidecars_own(container: Raw, name: str) -> str | None:
    """What no container but ours may be or have."""
    if _as_proxy(container):
        return _as_proxy_user(name)
    for mount in container.get("volumeMounts") or ():
        if mount.get("name") in _OUR_MOUNTS:
            return f"{name} mounts the volume {mount['name']!r}, which is the sidecar's alone: remove the mount"
    return None


def _as_proxy(holder: Raw) -> bool:
    return bool((holder.get("securityContext") or {}).get("runAsUser") == PROXY_UID)


def _as_proxy_user(who: str) -> str:
    return (
        f"{who} runs as user {PROXY_UID}, which is the sidecar's: its traffic would go around the sidecar; "
        "set runAsUser to another number"
    )


def _named(container: Raw) -> str:
    return f"the container {container.get('name')!r}"
