"""The parts of a pod that admission reads, checked once at the border. Pure.

The API server sends pods of its own schema; whoever else can reach the port sends what he likes, and behind this check
no code has to ask for a type again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from handfast_sidecar.errors import BadInput

Raw = Mapping[str, Any]


class BadShape(BadInput):
    """A field of an object has a type that it has in no pod; the message names it."""


_TEXTS: Final[Raw] = {"any name": str}
"""A map from any name to a string."""
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
    wrong = _wrong(value, POD)
    if wrong is not None:
        raise BadShape(wrong.lstrip("."))
    return value


def _wrong(value: Any, shape: Any) -> str | None:
    """What is wrong, behind the path to it; None: nothing. A field that is null is one that is not set.

    Every review passes here, so the path is put together only when there is something to say.
    """
    match shape:
        case dict():
            return _not_a(value, dict) or _wrong_member(value, shape)
        case [element]:
            return _not_a(value, list) or _wrong_element(value, element)
        case tuple():
            return None if type(value) in shape else _not_a(value, *shape)
        case _:
            return _not_a(value, shape)


def _wrong_member(value: Raw, shape: Raw) -> str | None:
    inner: Any
    for name, each in value.items():
        inner = str if shape is _TEXTS else shape.get(name)
        if inner is None or type(each) is inner or (each is None and shape is not _TEXTS):
            continue
        wrong = _wrong(each, inner)
        if wrong is not None:
            return f".{name}{wrong}"
    return None


def _wrong_element(value: Sequence[Any], element: Raw) -> str | None:
    key = "containerPort" if "containerPort" in element else "name"
    for index, each in enumerate(value):
        wrong = _wrong(each, element)
        if wrong is None and each.get(key) is None:
            wrong = f" has no {key}"
        if wrong is not None:
            return f"[{index}]{wrong}"
    return None


def _not_a(value: Any, *kinds: type) -> str | None:
    """By the exact type: JSON has no other, and true must not pass for a number."""
    if type(value) in kinds:
        return None
    return f" is a {type(value).__name__}, expected {' or '.join(each.__name__ for each in kinds)}"
