"""MTLSPolicy and ClusterMTLSPolicy, as the API server's schema let them through (crds/)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from handfast_operator.cluster.objects import Key
from handfast_operator.resources.selectors import LabelSelector
from handfast_sidecar.policy.effective import Mode, TlsVersion


@dataclass(frozen=True, slots=True)
class Foreign:
    """Ports for clients without a sidecar, and the oldest TLS that they may speak; no ports: none are open."""

    ports: frozenset[int]
    min_version: TlsVersion = TlsVersion.TLS_1_3


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """What both kinds say; None: inherit."""

    mode: Mode | None = None
    ports: Mapping[int, Mode] = field(default_factory=dict)
    ttl: timedelta | None = None
    """Life of the selected pods' leaves: `certificate.ttl`."""
    foreign: Foreign | None = None


@dataclass(frozen=True, slots=True)
class MtlsPolicy:
    """A namespace's or a workload's policy: with a selector it is a workload's."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    generation: int
    created: str
    """RFC 3339, so that it sorts: of two policies of one level the older wins."""
    selector: LabelSelector | None
    spec: PolicySpec

    @property
    def key(self) -> Key:
        return (self.namespace, self.name)

    @property
    def origin(self) -> str:
        """As refusals and logs name it."""
        return f"MTLSPolicy {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ClusterMtlsPolicy:
    """The default of all namespaces, or of those its selector names."""

    name: str
    uid: str
    resource_version: int
    generation: int
    created: str
    namespace_selector: LabelSelector | None
    spec: PolicySpec

    @property
    def key(self) -> Key:
        return ("", self.name)

    @property
    def origin(self) -> str:
        """As refusals and logs name it."""
        return f"ClusterMTLSPolicy {self.name}"
