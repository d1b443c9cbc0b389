"""Pods that wait for their identity: objects as the webhook leaves them, and nothing runs them. Pure."""

import hashlib
from typing import Any, Final

from handfast_operator.admission.containers import InjectionOptions
from handfast_operator.admission.injection import Injected, inject
from handfast_sidecar.wellknown import INJECT_ENABLED, LABEL_INJECT

Json = dict[str, Any]
NAMESPACES: Final = tuple(f"handfast-bench-{number}" for number in range(10))
ACCOUNT: Final = "member"
REPLICAS: Final = 50
"""Pods of one workload."""
_IMAGE: Final = "handfast-bench.invalid/none"
SIDECAR_IMAGE: Final = "handfast-bench.invalid/sidecar:0"
_OPTIONS: Final = InjectionOptions(
    "handfast-system",
    SIDECAR_IMAGE,
    resources={"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}},
)
_NOBODY: Final = "handfast-bench-nobody"
"""Name of a scheduler that does not exist."""


def waiting_pod(number: int, replicas: int = REPLICAS) -> Json:
    """Its manifest, with the sidecar in it. It has no owner: pods whose owner is not there are collected."""
    name, namespace = f"workload-{number // replicas}", namespace_of(number, replicas)
    app = {
        "name": "app",
        "image": _IMAGE,
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{each}", "value": f"value {each} of the workload"} for each in range(12)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/live", "port": "http"}, "periodSeconds": 10},
    }
    pod: Json = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace,
            "name": f"{name}-5d4f8c7b9-{number:05}",
            "labels": {"app.kubernetes.io/name": name, "app": name, "pod-template-hash": "5d4f8c7b9"},
        },
        "spec": {"serviceAccountName": ACCOUNT, "schedulerName": _NOBODY, "containers": [app]},
    }
    word = hashlib.sha256(str(number).encode()).hexdigest()[:10]
    outcome = inject(pod, namespace, {LABEL_INJECT: INJECT_ENABLED}, _OPTIONS, lambda: word)
    if not isinstance(outcome, Injected):
        raise TypeError(f"the pod is not injected: {outcome}")
    return outcome.pod


def namespace_of(number: int, replicas: int = REPLICAS) -> str:
    """Where the pods of its workload are."""
    return NAMESPACES[number // replicas % len(NAMESPACES)]


def number_of(name: str) -> int:
    """Of a pod, by its name."""
    return int(name.rpartition("-")[2])
