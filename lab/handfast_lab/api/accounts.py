"""What the ServiceAccount admission does to a pod that is created, and the tokens of service accounts. Pure.

The real one runs before the webhooks, and once more when they have changed the pod: a container that a webhook added
gets the token too, unless something is mounted in its place.
"""

import secrets
from typing import Any, Final

from handfast_lab.api.naming import random_suffix

Json = dict[str, Any]
TOKEN_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
_VOLUME: Final = "kube-api-access-"
_TOKEN_LIFE_S: Final = 3607
"""A pod's token; the odd seconds tell it from those that somebody asked for."""


class Tokens:
    """Who bears which token. Nothing is checked but this name: a token that nobody issued is the administrator's."""

    def __init__(self) -> None:
        self._users: dict[str, str] = {}

    def issue(self, namespace: str, account: str) -> str:
        """A new one, good for the life of the lab."""
        token = f"lab.{secrets.token_urlsafe(32)}"
        self._users[token] = f"system:serviceaccount:{namespace}:{account}"
        return token

    def user(self, authorization: str) -> str:
        """By the header of a request."""
        return self._users.get(authorization.removeprefix("Bearer "), "kubernetes-admin")


def account_of(pod: Json) -> str:
    """The service account that a pod runs under."""
    spec = pod["spec"]
    return spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"


def with_account(pod: Json, account: Json) -> Json:
    """The pod with its account's name, pull secrets and token."""
    spec = pod["spec"] | {"serviceAccountName": account["metadata"]["name"]}
    spec["serviceAccount"] = spec["serviceAccountName"]
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    mounts = spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True))
    return pod | {"spec": _with_token(spec) if mounts is not False else spec}


def _with_token(spec: Json) -> Json:
    volumes = spec.get("volumes") or []
    known = next((each["name"] for each in volumes if each["name"].startswith(_VOLUME)), "")
    name = known or _VOLUME + random_suffix()
    mount = {"name": name, "readOnly": True, "mountPath": TOKEN_PATH}
    changed, mounted = dict(spec), False
    for field in ("initContainers", "containers"):
        containers = []
        for each in spec.get(field) or ():
            mounts = each.get("volumeMounts") or []
            free = not any(other["mountPath"] == TOKEN_PATH for other in mounts)
            mounted = mounted or free
            containers.append(each | {"volumeMounts": [*mounts, mount]} if free else each)
        if containers:
            changed[field] = containers
    if mounted and not known:
        changed["volumes"] = [*volumes, {"name": name, "projected": {"defaultMode": 0o644, "sources": _sources()}}]
    return changed


def _sources() -> list[Json]:
    return [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_LIFE_S}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
                                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]  # fmt: skip
