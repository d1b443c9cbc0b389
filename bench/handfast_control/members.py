"""The pods whose sidecars are told of policies: many replicas of a few workloads in one namespace. Pure.

They are objects and nothing else: no scheduler takes them, so that a cluster runs none of them.
"""

from dataclasses import dataclass
from typing import Any, Final

from handfast_sidecar.wellknown import IDENTITY_VOLUME, PROXY_CONTAINER

NAMESPACE: Final = "handfast-bench"
ACCOUNT: Final = "member"
WORKLOADS: Final = 50
RANGE: Final = "10.79.0.0/16"
_NOBODY: Final = "handfast-bench-nobody"
"""Name of a scheduler that does not exist."""
_IMAGE: Final = "handfast-bench.invalid/none"


@dataclass(frozen=True, slots=True)
class Member:
    """One pod."""

    number: int

    @property
    def name(self) -> str:
        return f"member-{self.number}"

    @property
    def ip(self) -> str:
        return f"10.79.{self.number // 250}.{self.number % 250 + 1}"

    def manifest(self) -> dict[str, Any]:
        """For the API server; its sidecar is in its spec, so the directory takes it for meshed."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": NAMESPACE,
                "name": self.name,
                "labels": {"app": f"workload-{self.number % WORKLOADS}"},
            },
            "spec": {
                "serviceAccountName": ACCOUNT,
                "schedulerName": _NOBODY,
                "initContainers": [{"name": PROXY_CONTAINER, "image": _IMAGE, "restartPolicy": "Always"}],
                "containers": [{"name": "app", "image": _IMAGE}],
                "volumes": [{"name": IDENTITY_VOLUME, "secret": {"secretName": f"{self.name}-identity"}}],
            },
        }


def members(count: int) -> list[Member]:
    """So many, spread over the workloads."""
    return [Member(number) for number in range(count)]
