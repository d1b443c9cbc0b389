"""The parts of a pod that admission reads, checked once at the border. Pure.

The API server sends pods of its own schema; whoever else can reach the port sends what he likes, and behind this check
no code has to ask for a type again.
"""

from collections.abc import Mapping
from typing import Any, Final

from handfast_sidecar.errors import BadInput

Raw = Mapping[str, Any]


class BadShape(BadInput):
    """A field of an object has a type that it has in no pod; the message names it."""


class _MapOf(dict[str, str]):
    """Marks a map from any name to a string."""


_TEXTS: Final = _MapOf()
_SECURITY: Final = {"runAsUser": int}
_HTTP: Final = {
    "port": (int, str),
    "path": str,
    "scheme": str,
    "host": str,
    "httpHeaders": [{"name": str, "value": str}],
}
_HANDLER: Final = {
    "httpGet": _HTTP,
    "tcpSocket": {"port": (int, str), "host": str},
    "grpc": {"port": int, "service": str},
    "timeoutSeconds": int,
}
_AMOUNTS: Final[Raw] = {}
"""Only that it is an object: quantities are passed on, never read."""
_CONTAINER: Final = {
    "name": str,
    "securityContext": _SECURITY,
    "ports": [{"name": str, "containerPort": int, "protocol": str}],
    "volumeMounts": [{"name": str}],
    "env": [{"name": str, "value": str}],
    "imagePullPolicy": str,
    "resources": {"requests": _AMOUNTS, "limits": _AMOUNTS},
    "livenessProbe": _HANDLER,
    "readinessProbe": _HANDLER,
    "startupProbe": _HANDLER,
    "lifecycle": {"postStart": _HANDLER, "preStop": _HANDLER},
}
POD: Final = {
    "metadata": {"name": str, "generateName": str, "uid": str, "labels": _TEXTS, "annotations": _TEXTS},
    "spec": {
        "hostNetwork": bool,
        "terminationGracePeriodSeconds": int,
        "os": {"name": str},
        "nodeSelector": _TEXTS,
        "securityContext": _SECURITY,
        "volumes": [{"name": str, "secret": {"secretName": str}}],
        "containers": [_CONTAINER],
        "initContainers": [_CONTAINER],
        "ephemeralContainers": [_CONTAINER],
    },
}


def check_pod(value: Any) -> Raw:
    """The pod, or BadShape with the field that is wrong."""
    if not isinstance(value, dict) or not isinstance(value.get("spec"), dict):
        raise BadShape("the object has no spec: it is no pod")
    _check(value, POD, "")
    return value


def _check(value: Any, shape: Any, path: str) -> None:
    match shape:
        case _MapOf():
            _expect(value, dict, path)
            for name, each in value.items():
                _expect(each, str, f"{path}.{name}")
        case dict():
            _expect(value, dict, path)
            for name, inner in shape.items():
                _member(value.get(name), inner, f"{path}.{name}")
        case [element]:
            _expect(value, list, path)
            for index, each in enumerate(value):
                _expect(each, dict, f"{path}[{index}]")
                key = "containerPort" if "containerPort" in element else "name"
                if each.get(key) is None:
                    raise BadShape(f"{path.lstrip('.')}[{index}] has no {key}")
                _check(each, element, f"{path}[{index}]")
        case _:
            _expect(value, shape, path)


def _member(value: Any, shape: Any, path: str) -> None:
    """A field that is absent, or null, is one that is not set."""
    if value is not None:
        _check(value, shape, path)


def _expect(value: Any, wanted: Any, path: str) -> None:
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join(each.__name__ for each in kinds)
        raise BadShape(f"{path.lstrip('.')} is a {type(value).__name__}, expected {names}")
