"""MTLSPolicy and ClusterMTLSPolicy, as the API server's schema let them through (crds/)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from handfast_operator.cluster.objects import Key
from handfast_operator.resources.promotion import NOT_STARTED, Promotion
from handfast_operator.resources.selectors import LabelSelector
from handfast_sidecar.policy.effective import Enforcement, Mode, TlsVersion
from handfast_sidecar.policy.outgoing import Exempt, Outgoing


@dataclass(frozen=True, slots=True)
class Foreign:
    """Ports for clients without a sidecar, and the oldest TLS that they may speak; no ports: none are open."""

    ports: frozenset[int]
    min_version: TlsVersion = TlsVersion.TLS_1_3


@dataclass(frozen=True, slots=True)
class Caller:
    """One of `from`: all that is said must hold. A service account without a namespace is of the policy's own."""

    service_account: str = ""
    namespace: str = ""
    principal: str = ""
    """A SPIFFE ID, or the beginning of many: `spiffe://cluster.local/ns/shop/sa/*`."""
    spki_sha256: str = ""


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One entry of `allow` or `deny`."""

    callers: tuple[Caller, ...] | None = None
    """None: everybody; empty: nobody."""
    ports: frozenset[int] | None = None
    """None: every port; empty: none."""


@dataclass(frozen=True, slots=True)
class RateSpec:
    """New connections a second, and at once; None: one second's worth."""

    per_second: int
    burst: int | None = None


@dataclass(frozen=True, slots=True)
class ShareSpec:
    """Of all clients, or of each."""

    max_connections: int | None = None
    rate: RateSpec | None = None


@dataclass(frozen=True, slots=True)
class LimitsSpec:
    """What is left out is inherited, each by itself."""

    total: ShareSpec = ShareSpec()
    client: ShareSpec = ShareSpec()
    """`perClient`."""
    handshakes_per_second: int | None = None


@dataclass(frozen=True, slots=True)
class OutboundSpec:
    """What is left out is inherited, each by itself."""

    unknown: Outgoing | None = None
    plaintext: Outgoing | None = None
    exempt: tuple[Exempt, ...] | None = None
    """`except`. Empty: nothing is excepted, whatever a level above says."""


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """What both kinds say; None: inherit."""

    mode: Mode | None = None
    """Of `Auto`, what it is now: `Permissive`, and `Strict` once promoted."""
    ports: Mapping[int, Mode] = field(default_factory=dict)
    ttl: timedelta | None = None
    """Life of the selected pods' leaves: `certificate.ttl`."""
    foreign: Foreign | None = None
    allow: tuple[AccessRule, ...] | None = None
    """Empty: nobody."""
    deny: tuple[AccessRule, ...] = ()
    """Of every level, beside what the others deny: it is not inherited but added."""
    enforcement: Enforcement | None = None
    promote_after: timedelta | None = None
    """How long `Auto` waits; None: the mode is not `Auto`."""
    limits: LimitsSpec | None = None
    outbound: OutboundSpec | None = None


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
    promotion: Promotion = NOT_STARTED
    changed: str = ""
    """When somebody last wrote its spec, in RFC 3339; empty: not known."""

    @property
    def key(self) -> Key:
        return (self.namespace, self.name)

    @property
    def origin(self) -> str:
        """As refusals and logs name it."""
        return f"MTLSPolicy {self.namespace}/{self.name}"

    @property
    def level(self) -> str:
        """`namespace`, or with a selector `workload`."""
        return "namespace" if self.selector is None else "workload"


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
    promotion: Promotion = NOT_STARTED
    overridable: bool = True
    """False: its mode, ports and enforcement are final (policy/final.py)."""
    changed: str = ""
    """When somebody last wrote its spec, in RFC 3339; empty: not known."""

    @property
    def key(self) -> Key:
        return ("", self.name)

    @property
    def origin(self) -> str:
        """As refusals and logs name it."""
        return f"ClusterMTLSPolicy {self.name}"

    @property
    def level(self) -> str:
        """Of every namespace that it selects."""
        return "cluster"


Policy = MtlsPolicy | ClusterMtlsPolicy
