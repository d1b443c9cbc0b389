"""What leaves a cluster in a bundle is looked at once more: no key, no token. Pure.

The one rule: objects are made of what is known to be harmless (`seen_of`); `redacted` is the second line, for what
somebody wrote where no secret belongs, such as into a log.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from handfast_operator.admission.refusals import OURS
from handfast_sidecar.config.probes import HttpProbe, ProbeTable
from handfast_sidecar.errors import BadConfig
from handfast_sidecar.wellknown import API_GROUP, ENV_PROBES

Json = dict[str, Any]
Raw = Mapping[str, Any]
REDACTED: Final = "[redacted]"
_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_TOKEN: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+")
"""A JSON Web Token (RFC 7519, section 3): three parts of base64url, the first of which is an object."""
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_ENCODED: Final = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/]{20,}={0,2}")
"""What begins `-----BEGIN` in base64: certificates stay, keys do not."""
_OWN_PREFIX: Final = (f"{API_GROUP}/", "app.kubernetes.io/", "helm.sh/")
_META: Final = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "ownerReferences",
    "finalizers",
    "labels",
)
_CONTAINER: Final = (
    "name",
    "image",
    "imagePullPolicy",
    "ports",
    "resources",
    "restartPolicy",
    "securityContext",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "volumeMounts",
)
"""Of a container that is not ours: no command, no arguments, no environment, no hooks."""
_POD: Final = (
    "serviceAccountName",
    "nodeName",
    "hostNetwork",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "securityContext",
    "nodeSelector",
    "os",
    "dnsPolicy",
)


def redacted(text: str) -> str:
    """Without what looks like a private key or a token, wherever it stands."""
    for pattern in (_KEY, _TOKEN):
        text = pattern.sub(REDACTED, text)
    text = _BEARER.sub(lambda found: f"{found[1]} {REDACTED}", text)
    return _ENCODED.sub(_without_key, text)


def _without_key(found: re.Match[str]) -> str:
    text = found[0].rstrip("=")
    try:
        decoded = base64.b64decode(text[: len(text) // 4 * 4])
    except binascii.Error:
        return REDACTED
    return REDACTED if b"PRIVATE KEY" in decoded else found[0]


def metadata_of(raw: Raw, *, annotations: Callable[[str], bool] = lambda name: name.startswith(_OWN_PREFIX)) -> Json:
    """Of an object: annotations that are Handfast's own, as others hold copies of whole objects (kubectl's
    last-applied-configuration), and who wrote which fields is left out."""
    meta = raw.get("metadata") or {}
    kept = {name: meta[name] for name in _META if name in meta}
    chosen = {name: value for name, value in (meta.get("annotations") or {}).items() if annotations(name)}
    return kept | ({"annotations": chosen} if chosen else {})


def whole(raw: Raw) -> Json:
    """An object that holds no secret by its kind, without what tools keep in its metadata."""
    return {**raw, "metadata": metadata_of(raw)}


def only_metadata(raw: Raw) -> Json:
    """Of a Secret: never its data."""
    kept = {name: raw[name] for name in ("apiVersion", "kind", "type") if name in raw}
    return {**kept, "metadata": metadata_of(raw, annotations=lambda name: name.startswith(f"{API_GROUP}/"))}


def pod_of(raw: Raw, *, ours: bool = False) -> Json:
    """A pod: our containers in full, of others what matters to a mesh. `ours`: it is one of the operator's own."""
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    kept: Json = {name: spec[name] for name in _POD if name in spec}
    for name in ("initContainers", "containers", "ephemeralContainers"):
        if spec.get(name):
            kept[name] = [_ours(each) if ours or each.get("name") in OURS else _container(each) for each in spec[name]]
    if spec.get("volumes"):
        kept["volumes"] = [_volume(each) for each in spec["volumes"]]
    named = {name: raw[name] for name in ("apiVersion", "kind") if name in raw}
    told = {
        name: [each if ours or each.get("name") in OURS else _without_words(each) for each in value]
        if name.endswith("ontainerStatuses")
        else value
        for name, value in status.items()
    }
    return {**named, "metadata": metadata_of(raw), "spec": kept, "status": told}


def _ours(raw: Raw) -> Json:
    """In full, but for what others put into its environment, and the headers of the application's probes there."""
    changed = [_variable(each) for each in raw.get("env") or ()]
    return {**raw, **({"env": changed} if changed else {})}


def _variable(raw: Raw) -> Json:
    if raw.get("name") == ENV_PROBES:
        return {**raw, "value": _probes(raw)}
    known = str(raw.get("name")).startswith("HANDFAST_")
    return dict(raw) if known or "value" not in raw else {**raw, "value": REDACTED}


def _probes(variable: Raw) -> str:
    try:
        found = ProbeTable.parse(str(variable.get("value") or ""))
    except BadConfig:
        return REDACTED
    hidden = {
        path: replace(probe, headers=tuple((name, REDACTED) for name, _value in probe.headers))
        if isinstance(probe, HttpProbe)
        else probe
        for path, probe in found.probes.items()
    }
    return ProbeTable(hidden).dump()


def _without_words(value: Any) -> Any:
    """Of a container's state: a termination message may be the end of the application's log."""
    if isinstance(value, dict):
        return {name: _without_words(each) for name, each in value.items() if name != "message"}
    return value


def _container(raw: Raw) -> Json:
    return {name: _without_headers(raw[name]) for name in _CONTAINER if name in raw}


def _without_headers(value: Any) -> Any:
    """A probe's HTTP headers may hold credentials; an exec probe's command may too."""
    if isinstance(value, dict):
        return {
            name: REDACTED if name in ("httpHeaders", "command") else _without_headers(each)
            for name, each in value.items()
        }
    return [_without_headers(each) for each in value] if isinstance(value, list) else value


def _volume(raw: Raw) -> Json:
    """Its name and what it is; of Secrets and ConfigMaps which one."""
    kept: Json = {name: {} for name in raw if name != "name"}
    for kind, field in (("secret", "secretName"), ("configMap", "name")):
        if raw.get(kind):
            kept[kind] = {field: raw[kind].get(field)}
    return {"name": raw.get("name"), **kept}
