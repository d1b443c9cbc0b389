"""Probes and hooks that kubelet asks the sidecar instead of the application. Pure.

kubelet has no leaf, so under `Strict` it could not ask the application itself. The originals travel in the environment
of the proxy container; a probe that was rewritten before is recognised there, so that a second call changes nothing.
"""

from collections.abc import Mapping
from typing import Any, Final

from handfast_operator.admission.refusals import OURS
from handfast_sidecar.config.probes import PROBE_PREFIX, GrpcProbe, HttpProbe, Probe, ProbeTable, TcpProbe, probe_path
from handfast_sidecar.wellknown import ADMIN_PORT

Json = dict[str, Any]
PROBES: Final = {"livenessProbe": "liveness", "readinessProbe": "readiness", "startupProbe": "startup"}
HOOKS: Final = ("postStart", "preStop")
_HANDLERS: Final = ("httpGet", "tcpSocket", "grpc")
HOOK_TIMEOUT_S: Final = 30
"""Seconds for a lifecycle hook, which has no time-out field of its own."""


class UnknownPort(ValueError):
    """A probe names a port that its container does not have."""


def rewrite(container: Mapping[str, Any], known: Mapping[str, Probe]) -> tuple[Json, dict[str, Probe]]:
    """The container with its probes pointed at the sidecar, and the originals by path. Raises UnknownPort.

    `known` are the originals of an earlier call.
    """
    changed: Json = dict(container)
    originals: dict[str, Probe] = {}
    if container.get("name") in OURS:
        return changed, {}
    for field, word in PROBES.items():
        probe = container.get(field)
        if probe:
            changed[field] = _point(probe, container, word, int(probe.get("timeoutSeconds") or 1), known, originals)
    lifecycle = container.get("lifecycle") or {}
    if lifecycle:
        changed["lifecycle"] = {
            name: _point(hook, container, name, HOOK_TIMEOUT_S, known, originals) if name in HOOKS else hook
            for name, hook in lifecycle.items()
        }
    return changed, originals


def read_known(environment: str) -> Mapping[str, Probe]:
    """The originals of an earlier call, from the proxy container's environment."""
    return ProbeTable.parse(environment).probes


def _point(
    handler: Mapping[str, Any],
    container: Mapping[str, Any],
    word: str,
    timeout_s: int,
    known: Mapping[str, Probe],
    originals: dict[str, Probe],
) -> Json:
    path = probe_path(str(container.get("name")), word)
    original = _earlier(handler, path, known) or _original(handler, container, timeout_s)
    if original is None:
        return dict(handler)
    originals[path] = original
    kept = {name: value for name, value in handler.items() if name not in _HANDLERS}
    return {**kept, "httpGet": {"path": path, "port": ADMIN_PORT, "scheme": "HTTP"}}


def _earlier(handler: Mapping[str, Any], path: str, known: Mapping[str, Probe]) -> Probe | None:
    """The original of a probe that points at us already."""
    http = handler.get("httpGet") or {}
    ours = http.get("port") == ADMIN_PORT and str(http.get("path", "")).startswith(PROBE_PREFIX)
    return known.get(path) if ours else None


def _original(handler: Mapping[str, Any], container: Mapping[str, Any], timeout_s: int) -> Probe | None:
    http, tcp, grpc = (handler.get(name) for name in _HANDLERS)
    if http:
        headers = tuple((each["name"], each.get("value", "")) for each in http.get("httpHeaders") or ())
        return HttpProbe(
            _port(http.get("port"), container),
            http.get("path") or "/",
            http.get("scheme") or "HTTP",
            http.get("host") or "",
            headers,
            timeout_s,
        )
    if tcp:
        return TcpProbe(_port(tcp.get("port"), container), tcp.get("host") or "", timeout_s)
    if grpc:
        return GrpcProbe(_port(grpc.get("port"), container), grpc.get("service") or "", timeout_s)
    return None


def _port(port: Any, container: Mapping[str, Any]) -> int:
    """A number, or the number of the container's own port of that name."""
    if isinstance(port, int) or (isinstance(port, str) and port.isdecimal()):
        return int(port)
    for each in container.get("ports") or ():
        if each.get("name") == port:
            return int(each["containerPort"])
    raise UnknownPort(
        f"a probe of the container {container.get('name')!r} names the port {port!r}, which is not among its ports: "
        "add it to the container's ports, or write its number"
    )
