"""Our custom resources from the API server's JSON. Their schema let them through; what is left out means "inherit"."""

from collections.abc import Mapping
from typing import Any

from handfast_operator.resources.durations import parse_duration
from handfast_operator.resources.policies import ClusterMtlsPolicy, Foreign, MtlsPolicy, PolicySpec
from handfast_operator.resources.selectors import parse_selector
from handfast_operator.resources.trust_domain import DEFAULT_ROOT_TTL, TrustDomain
from handfast_sidecar.policy.effective import Mode, TlsVersion

Raw = Mapping[str, Any]


def parse_mtls_policy(raw: Raw) -> MtlsPolicy:
    """An MTLSPolicy."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    return MtlsPolicy(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        generation=int(meta.get("generation", 1)),
        created=meta["creationTimestamp"],
        selector=parse_selector(spec.get("selector")),
        spec=_spec(spec),
    )


def parse_cluster_mtls_policy(raw: Raw) -> ClusterMtlsPolicy:
    """A ClusterMTLSPolicy."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    return ClusterMtlsPolicy(
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        generation=int(meta.get("generation", 1)),
        created=meta["creationTimestamp"],
        namespace_selector=parse_selector(spec.get("namespaceSelector")),
        spec=_spec(spec),
    )


def parse_trust_domain(raw: Raw) -> TrustDomain:
    """A TrustDomain."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    self_signed = (spec.get("issuer") or {}).get("selfSigned") or {}
    ttl = self_signed.get("ttl")
    return TrustDomain(
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        generation=int(meta.get("generation", 1)),
        root_ttl=parse_duration(ttl) if ttl else DEFAULT_ROOT_TTL,
    )


def _spec(spec: Raw) -> PolicySpec:
    mode, ttl, foreign = spec.get("mode"), (spec.get("certificate") or {}).get("ttl"), spec.get("foreign")
    return PolicySpec(
        mode=Mode(mode) if mode else None,
        ports={int(each["port"]): Mode(each["mode"]) for each in spec.get("ports") or ()},
        ttl=parse_duration(ttl) if ttl else None,
        foreign=_foreign(foreign) if foreign is not None else None,
    )


def _foreign(foreign: Raw) -> Foreign:
    oldest = foreign.get("minVersion")
    ports = frozenset(int(port) for port in foreign.get("ports") or ())
    return Foreign(ports, TlsVersion(oldest) if oldest else TlsVersion.TLS_1_3)
