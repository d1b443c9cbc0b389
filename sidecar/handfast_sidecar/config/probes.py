"""What kubelet would have asked the application: carried from the webhook to the sidecar.

Kubelet has no leaf, so under `Strict` its probes cannot reach the application. The webhook points them at the sidecar's
admin port and leaves the original here, in the environment of the proxy container: it is a fact of the pod's spec, as
immutable as the spec itself, which is why it is not part of config.json.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from handfast_sidecar.errors import BadConfig

PROBE_PREFIX: Final = "/probe/"


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """A GET; a status from 200 to 399 is success."""

    port: int
    path: str = "/"
    scheme: str = "HTTP"
    host: str = ""
    """Empty: the pod's own IP, as kubelet does."""
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: int = 1


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """A connection that opens is success."""

    port: int
    host: str = ""
    timeout_s: int = 1


@dataclass(frozen=True, slots=True)
class GrpcProbe:
    """grpc.health.v1.Health/Check; SERVING is success."""

    port: int
    service: str = ""
    timeout_s: int = 1


Probe = HttpProbe | TcpProbe | GrpcProbe


@dataclass(frozen=True, slots=True)
class ProbeTable:
    """Probes by the path they are served at, such as `/probe/app/readiness`."""

    probes: Mapping[str, Probe] = field(default_factory=dict)

    def dump(self) -> str:
        """The environment variable's text."""
        return json.dumps(
            {path: _to_json(probe) for path, probe in self.probes.items()}, separators=(",", ":"), sort_keys=True
        )

    @classmethod
    def parse(cls, text: str) -> "ProbeTable":
        """Read what `dump` wrote; raises BadConfig."""
        try:
            return cls({str(path): _from_json(probe) for path, probe in json.loads(text or "{}").items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadConfig(f"the probes in the container's environment cannot be read: {error!r}") from error


def probe_path(container: str, name: str) -> str:
    """Where a probe is served; `name` is liveness, readiness, startup, postStart or preStop."""
    return f"{PROBE_PREFIX}{container}/{name}"


def _to_json(probe: Probe) -> dict[str, Any]:
    match probe:
        case HttpProbe():
            return {
                "kind": "http",
                "port": probe.port,
                "path": probe.path,
                "scheme": probe.scheme,
                "host": probe.host,
                "headers": [list(header) for header in probe.headers],
                "timeout": probe.timeout_s,
            }
        case TcpProbe():
            return {"kind": "tcp", "port": probe.port, "host": probe.host, "timeout": probe.timeout_s}
        case GrpcProbe():
            return {"kind": "grpc", "port": probe.port, "service": probe.service, "timeout": probe.timeout_s}


def _from_json(document: Any) -> Probe:
    port, timeout_s = int(document["port"]), int(document.get("timeout", 1))
    match document["kind"]:
        case "http":
            headers = tuple((str(name), str(value)) for name, value in document.get("headers", ()))
            return HttpProbe(
                port,
                document.get("path", "/"),
                document.get("scheme", "HTTP"),
                document.get("host", ""),
                headers,
                timeout_s,
            )
        case "tcp":
            return TcpProbe(port, document.get("host", ""), timeout_s)
        case "grpc":
            return GrpcProbe(port, document.get("service", ""), timeout_s)
        case kind:
            raise BadConfig(f"unknown kind {kind!r}")
