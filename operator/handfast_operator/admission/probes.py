"""Probes and hooks that kubelet asks the sidecar instead of the application. Pure.

kubelet has no leaf, so under `Strict` it could not ask the application itself. The originals travel in the environment
of the proxy container; a probe that was rewritten before is recognised there, so that a second call changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from handfast_sidecar.config.probes import GrpcProbe, HttpProbe, Probe, ProbeTable, TcpProbe, probe_path
from handfast_sidecar.errors import BadConfig
from handfast_sidecar.wellknown import ADMIN_PORT, ENV_PROBES, PROXY_CONTAINER, SIDECAR_PORTS

Json = dict[str, Any]
Raw = Mapping[str, Any]
PROBES: Final = {"livenessProbe": "liveness", "readinessProbe": "readiness", "startupProbe": "startup"}
HOOKS: Final = ("postStart", "preStop")
_HANDLERS: Final = ("httpGet", "tcpSocket", "grpc")
POST_START_S: Final = 300
"""Seconds for a postStart hook, which kubelet itself does not limit."""
GRACE_S: Final = 30
"""Seconds for a preStop hook where the pod has no terminationGracePeriodSeconds: kubelet's own default."""


class UnusableProbe(ValueError):
    """A probe that the sidecar cannot run in kubelet's place; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Rewriter:
    """Rewrites the probes of one pod's containers."""

    known: Mapping[str, Probe]
    """Originals that an earlier call left in the proxy's environment."""
    grace_s: int
    originals: dict[str, Probe]
    """Filled as containers are rewritten."""

    @classmethod
    def of_pod(cls, spec: Raw) -> "Rewriter":
        """Raises UnusableProbe when the environment of an earlier call cannot be read."""
        grace = spec.get("terminationGracePeriodSeconds")
        return cls(originals_of(spec), GRACE_S if grace is None else max(1, grace), {})

    def rewrite(self, container: Raw) -> Json:
        """The container, with its probes pointed at the sidecar. Raises UnusableProbe."""
        changed: Json = dict(container)
        for field, word in PROBES.items():
            probe = container.get(field)
            if probe:
                changed[field] = self._point(probe, container, word, probe.get("timeoutSeconds") or 1)
        lifecycle = container.get("lifecycle")
        if lifecycle:
            seconds = {"postStart": POST_START_S, "preStop": self.grace_s}
            changed["lifecycle"] = {
                name: self._point(hook, container, name, seconds[name]) if name in HOOKS and hook else hook
                for name, hook in lifecycle.items()
            }
        return changed

    def _point(self, handler: Raw, container: Raw, word: str, timeout_s: int) -> Json:
        name = str(container.get("name"))
        path = probe_path(name, word)
        original = self._earlier(handler, path) or _original(handler, container)
        if original is None:
            return dict(handler)
        if original.port in SIDECAR_PORTS:
            raise UnusableProbe(
                f"the {word} probe of the container {name!r} asks port {original.port}, which belongs to the sidecar: "
                "write the application's own port (a manifest copied from a running pod has rewritten probes)"
            )
        self.originals[path] = replace(original, timeout_s=timeout_s)
        kept = {field: value for field, value in handler.items() if field not in _HANDLERS}
        return {**kept, "httpGet": {"path": path, "port": ADMIN_PORT, "scheme": "HTTP"}}

    def _earlier(self, handler: Raw, path: str) -> Probe | None:
        """The original of a probe that points at us already."""
        http = handler.get("httpGet") or {}
        return self.known.get(path) if (http.get("port"), http.get("path")) == (ADMIN_PORT, path) else None


def originals_of(spec: Raw) -> Mapping[str, Probe]:
    """What an earlier call left in the proxy's environment, by path. Raises UnusableProbe where it cannot be read."""
    for container in spec.get("initContainers") or ():
        for variable in (container.get("env") or ()) if container.get("name") == PROXY_CONTAINER else ():
            if variable.get("name") == ENV_PROBES:
                try:
                    return ProbeTable.parse(variable.get("value") or "").probes
                except (BadConfig, OverflowError, RecursionError) as error:
                    raise UnusableProbe(
                        f"the variable {ENV_PROBES} of its container {PROXY_CONTAINER!r} is not what Handfast wrote "
                        f"({error}): remove the container, it is added anew"
                    ) from error
    return {}


def _original(handler: Raw, container: Raw) -> Probe | None:
    http, tcp, grpc = (handler.get(name) for name in _HANDLERS)
    if http:
        return HttpProbe(
            _port(http.get("port"), container),
            http.get("path") or "/",
            http.get("scheme") or "HTTP",
            http.get("host") or "",
            tuple((each["name"], each.get("value") or "") for each in http.get("httpHeaders") or ()),
        )
    if tcp:
        return TcpProbe(_port(tcp.get("port"), container), tcp.get("host") or "")
    if grpc:
        return GrpcProbe(_port(grpc.get("port"), container), grpc.get("service") or "")
    return None


def _port(port: Any, container: Raw) -> int:
    """A number, or the number of the container's own port of that name, as kubelet resolves it."""
    for each in container.get("ports") or ():
        if isinstance(port, str) and each.get("name") == port:
            return int(each["containerPort"])
    if isinstance(port, int) or (isinstance(port, str) and port.isascii() and port.isdecimal()):
        return int(port)
    raise UnusableProbe(
        f"a probe of the container {container.get('name')!r} names the port {port!r}, which is not among its ports: "
        "add it to the container's ports, or write its number"
    )
