"""The few objects that kubectl sends as Protocol Buffers, as `create namespace` and `create secret` do. Pure.

The one rule: a field that is not in the table and says something is refused, so nothing is lost in silence.
"""

import base64
from collections.abc import Iterator
from typing import Any, Final

from handfast_lab.api.problems import ApiProblem

Json = dict[str, Any]
CONTENT_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\0"
_MESSAGES: Final[dict[str, dict[int, tuple[str, str]]]] = {
    "Unknown": {1: ("type", "TypeMeta"), 2: ("raw", "raw")},
    "TypeMeta": {1: ("apiVersion", "text"), 2: ("kind", "text")},
    "ObjectMeta": {1: ("name", "text"), 2: ("generateName", "text"), 3: ("namespace", "text"),
                   7: ("generation", "number"), 8: ("creationTimestamp", "Empty"), 11: ("labels", "texts"),
                   12: ("annotations", "texts")},
    "Empty": {},
    "Namespace": {1: ("metadata", "ObjectMeta"), 2: ("spec", "Empty"), 3: ("status", "skipped")},
    "Secret": {1: ("metadata", "ObjectMeta"), 2: ("data", "files"), 3: ("type", "text"), 4: ("stringData", "texts"),
               5: ("immutable", "flag")},
    "ConfigMap": {1: ("metadata", "ObjectMeta"), 2: ("data", "texts"), 3: ("binaryData", "files"),
                  4: ("immutable", "flag")},
    "ServiceAccount": {1: ("metadata", "ObjectMeta"), 4: ("automountServiceAccountToken", "flag")},
    "Deployment": {1: ("metadata", "ObjectMeta"), 2: ("spec", "DeploymentSpec"), 3: ("status", "skipped")},
    "DeploymentSpec": {1: ("replicas", "number"), 2: ("selector", "LabelSelector"), 3: ("template", "PodTemplateSpec"),
                       4: ("strategy", "DeploymentStrategy"), 5: ("minReadySeconds", "number"), 7: ("paused", "flag")},
    "DeploymentStrategy": {1: ("type", "text")},
    "LabelSelector": {1: ("matchLabels", "texts")},
    "PodTemplateSpec": {1: ("metadata", "ObjectMeta"), 2: ("spec", "PodSpec")},
    "PodSpec": {2: ("containers", "*Container"), 3: ("restartPolicy", "text"), 6: ("dnsPolicy", "text"),
                8: ("serviceAccountName", "text"), 9: ("serviceAccount", "text"), 10: ("nodeName", "text"),
                11: ("hostNetwork", "flag"), 12: ("hostPID", "flag"), 13: ("hostIPC", "flag"), 16: ("hostname", "text"),
                17: ("subdomain", "text"), 19: ("schedulerName", "text"), 24: ("priorityClassName", "text")},
    "Container": {1: ("name", "text"), 2: ("image", "text"), 3: ("command", "*text"), 4: ("args", "*text"),
                  5: ("workingDir", "text"), 6: ("ports", "*ContainerPort"), 8: ("resources", "Empty"),
                  13: ("terminationMessagePath", "text"), 14: ("imagePullPolicy", "text"), 16: ("stdin", "flag"),
                  17: ("stdinOnce", "flag"), 18: ("tty", "flag"), 20: ("terminationMessagePolicy", "text")},
    "ContainerPort": {1: ("name", "text"), 2: ("hostPort", "number"), 3: ("containerPort", "number"),
                      4: ("protocol", "text"), 5: ("hostIP", "text")},
    "TokenRequest": {1: ("metadata", "ObjectMeta"), 2: ("spec", "TokenRequestSpec"), 3: ("status", "skipped")},
    "TokenRequestSpec": {1: ("audiences", "*text"), 4: ("expirationSeconds", "number")},
    "SelfSubjectAccessReview": {1: ("metadata", "ObjectMeta"), 2: ("spec", "skipped"), 3: ("status", "skipped")},
    "SelfSubjectRulesReview": {1: ("metadata", "ObjectMeta"), 2: ("spec", "skipped"), 3: ("status", "skipped")},
    "DeleteOptions": {1: ("gracePeriodSeconds", "number"), 2: ("preconditions", "Preconditions"),
                      4: ("propagationPolicy", "text"), 5: ("dryRun", "*text")},
    "Preconditions": {1: ("uid", "text"), 2: ("resourceVersion", "text")},
}  # fmt: skip
"""Field numbers of generated.proto in k8s.io/api and k8s.io/apimachinery."""


def decode(body: bytes) -> Json:
    """Raises ApiProblem for kinds and fields that are not in the table."""
    if not body:
        return {}
    if not body.startswith(_MAGIC):
        raise _refused("it does not begin as a Kubernetes object does")
    envelope = _message(body[len(_MAGIC) :], "Unknown")
    named: Json = envelope.get("type", {})
    if named.get("kind") not in _MESSAGES:
        raise _refused(f"kind {named.get('kind')!r}")
    return named | _message(envelope.get("raw", b""), named["kind"])


def _message(data: bytes, name: str) -> Json:
    found: Json = {}
    for number, value in _fields(data):
        if number not in _MESSAGES[name]:
            if value:
                raise _refused(f"field {number} of {name}")
            continue
        field, kind = _MESSAGES[name][number]
        if kind in ("texts", "files"):
            entry = dict(_fields(bytes(value)))
            found.setdefault(field, {})[entry.get(1, b"").decode()] = _value(entry.get(2, b""), kind)
        elif kind.startswith("*"):
            found.setdefault(field, []).append(_value(value, kind[1:]))
        elif kind != "skipped" and (decoded := _value(value, kind)) not in ("", {}, False):
            found[field] = decoded
    return found


def _value(value: Any, kind: str) -> Any:
    match kind:
        case "text" | "texts":
            return value.decode()
        case "files":
            return base64.b64encode(value).decode()
        case "flag":
            return bool(value)
        case "number" | "raw":
            return value
        case _:
            return _message(value, kind)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers with integers or bytes: the two wire types that these objects have."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, place = _varint(data, place)
        if tag & 7 == 0:
            yield tag >> 3, number
        elif tag & 7 == 2:
            yield tag >> 3, data[place : place + number]
            place += number
        else:
            raise _refused(f"wire type {tag & 7}")


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data):
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise _refused("it ends too early")


def _refused(why: str) -> ApiProblem:
    return ApiProblem(415, "UnsupportedMediaType", f"the lab cannot read this Protocol Buffers body ({why}): send JSON,"
                      " as kubectl apply and kubectl create -f do")  # fmt: skip
