"""The two containers and three volumes that a meshed pod gets. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from handfast_operator.settings import Settings
from handfast_sidecar.wellknown import (
    ADMIN_PORT,
    CACHE_PATH,
    CACHE_VOLUME,
    ENV_CIPHER_SUITES,
    ENV_LOG_LEVEL,
    ENV_POD_IPS,
    ENV_POD_NAME,
    ENV_POD_NAMESPACE,
    ENV_POD_UID,
    IDENTITY_PATH,
    IDENTITY_VOLUME,
    INIT_CONTAINER,
    MESH_PORT,
    PROXY_CONTAINER,
    PROXY_UID,
)

Json = dict[str, Any]
NO_TOKEN_VOLUME: Final = "handfast-no-token"  # noqa: S105 - a volume's name
TOKEN_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
OUR_VOLUMES: Final = frozenset({IDENTITY_VOLUME, CACHE_VOLUME, NO_TOKEN_VOLUME})
_FILE_MODE: Final = 0o444
"""Secret files belong to root and our user is another: everybody may read them, in a volume that we alone mount."""
_ALWAYS: Final = "Always"
_PROBE_TIMEOUT_S: Final = 3
"""Seconds for an answer of our own: a node under load must not look like a sidecar that is not ready."""
_LAST_WORDS: Final = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "FallbackToLogsOnError",
}
"""`kubectl describe pod` then shows why a container of ours failed."""


@dataclass(frozen=True, slots=True)
class InjectionOptions:
    """What the chart decides about sidecars."""

    operator_namespace: str
    sidecar_image: str
    pull_policy: str = "IfNotPresent"
    resources: Mapping[str, Any] = field(default_factory=dict)
    log_level: str = "info"
    cipher_suites: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "InjectionOptions":
        """Those of an installation."""
        return cls(
            settings.namespace,
            settings.sidecar_image,
            settings.sidecar_pull_policy,
            settings.sidecar_resources,
            settings.sidecar_log_level,
            settings.sidecar_cipher_suites,
        )


def init_container(options: InjectionOptions, environment: Mapping[str, str]) -> Json:
    """Writes the rules and ends. A user other than root has no effective capability, so it is root with just one.

    `environment` is what this pod's own init is told beside the chart's settings.
    """
    return {
        "name": INIT_CONTAINER,
        "image": options.sidecar_image,
        "imagePullPolicy": options.pull_policy,
        "args": ["init"],
        "env": [*_variables(environment), {"name": ENV_LOG_LEVEL, "value": options.log_level}],
        "resources": dict(options.resources),
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [_no_token()],
        **_LAST_WORDS,
    }


def proxy_container(options: InjectionOptions, environment: Mapping[str, str]) -> Json:
    """The native sidecar: later init containers and the application start when its startup probe has succeeded.

    `environment` is what this pod's own proxy is told beside the chart's settings.
    """
    ready = {
        "httpGet": {"path": "/readyz", "port": ADMIN_PORT, "scheme": "HTTP"},
        "timeoutSeconds": _PROBE_TIMEOUT_S,
        "successThreshold": 1,
    }
    return {
        "name": PROXY_CONTAINER,
        "image": options.sidecar_image,
        "imagePullPolicy": options.pull_policy,
        "args": ["proxy"],
        "restartPolicy": "Always",
        "env": [
            _from_field(ENV_POD_NAME, "metadata.name"),
            _from_field(ENV_POD_NAMESPACE, "metadata.namespace"),
            _from_field(ENV_POD_UID, "metadata.uid"),
            _from_field(ENV_POD_IPS, "status.podIPs"),
            *_variables(environment),
            {"name": ENV_LOG_LEVEL, "value": options.log_level},
            *([{"name": ENV_CIPHER_SUITES, "value": options.cipher_suites}] if options.cipher_suites else []),
        ],
        "ports": [
            {"name": "handfast-mesh", "containerPort": MESH_PORT, "protocol": "TCP"},
            {"name": "handfast-admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
        ],
        "resources": dict(options.resources),
        # Once a second: a pod must not wait longer for its sidecar than the sidecar needs.
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": 120},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 3},
        "securityContext": {
            "runAsUser": PROXY_UID,
            "runAsGroup": PROXY_UID,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": IDENTITY_VOLUME, "mountPath": IDENTITY_PATH, "readOnly": True},
            {"name": CACHE_VOLUME, "mountPath": CACHE_PATH},
            _no_token(),
        ],
        **_LAST_WORDS,
    }


def with_additions(fresh: Json, before: Mapping[str, Any] | None) -> Json:
    """Our container, with what in-tree admission added to the one of an earlier call.

    LimitRanger fills in resources that we leave open and AlwaysPullImages sets the pull policy. Both check at the end
    that nobody took it back, so a call after them must not.
    """
    if before is None:
        return fresh
    kept = dict(fresh)
    if before.get("imagePullPolicy") == _ALWAYS:
        kept["imagePullPolicy"] = _ALWAYS
    found = before.get("resources") or {}
    resources = {
        kind: {**(found.get(kind) or {}), **(fresh["resources"].get(kind) or {})} for kind in ("requests", "limits")
    }
    kept["resources"] = {**fresh["resources"], **{kind: amounts for kind, amounts in resources.items() if amounts}}
    return kept


def volumes(secret: str) -> list[Json]:
    """The pod's identity, the proxy's memory across restarts, and nothing where the API token would be."""
    return [
        {"name": IDENTITY_VOLUME, "secret": {"secretName": secret, "defaultMode": _FILE_MODE}},
        {"name": CACHE_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        {"name": NO_TOKEN_VOLUME, "emptyDir": {"sizeLimit": "1Mi"}},
    ]


def _no_token() -> Json:
    """In-tree admission runs after us, and mounts the API token wherever nothing is mounted at its path."""
    return {"name": NO_TOKEN_VOLUME, "mountPath": TOKEN_PATH, "readOnly": True}


def _variables(environment: Mapping[str, str]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in environment.items()]


def _from_field(name: str, path: str) -> Json:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
