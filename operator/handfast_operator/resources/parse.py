"""Our custom resources from the API server's JSON. Their schema let them through; what is left out means "inherit"."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_network
from typing import Any, Final

from handfast_operator.resources.durations import parse_duration
from handfast_operator.resources.policies import (
    AccessRule,
    Caller,
    ClusterMtlsPolicy,
    Foreign,
    LimitsSpec,
    MtlsPolicy,
    OutboundSpec,
    PolicySpec,
    RateSpec,
    ShareSpec,
)
from handfast_operator.resources.promotion import parse_promotion
from handfast_operator.resources.revocation import parse_revoked
from handfast_operator.resources.selectors import parse_selector
from handfast_operator.resources.trust_domain import DEFAULT_ROOT_TTL, RotationSpec, TrustDomain
from handfast_sidecar.policy.effective import Enforcement, Mode, TlsVersion
from handfast_sidecar.policy.outgoing import Exempt, Outgoing

Raw = Mapping[str, Any]
AUTO: Final = "Auto"
"""The word of `mode` that is no mode: it stands for one or another by the policy's status."""
DEFAULT_PROMOTE_AFTER: Final = timedelta(hours=24)


def parse_mtls_policy(raw: Raw) -> MtlsPolicy:
    """An MTLSPolicy."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    promotion = parse_promotion(raw.get("status"))
    return MtlsPolicy(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        generation=int(meta.get("generation", 1)),
        created=meta["creationTimestamp"],
        selector=parse_selector(spec.get("selector")),
        spec=_spec(spec, promotion.promoted),
        promotion=promotion,
        changed=_changed(meta),
    )


def parse_cluster_mtls_policy(raw: Raw) -> ClusterMtlsPolicy:
    """A ClusterMTLSPolicy."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    promotion = parse_promotion(raw.get("status"))
    return ClusterMtlsPolicy(
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        generation=int(meta.get("generation", 1)),
        created=meta["creationTimestamp"],
        namespace_selector=parse_selector(spec.get("namespaceSelector")),
        spec=_spec(spec, promotion.promoted),
        promotion=promotion,
        overridable=spec.get("overridable") is not False,
        changed=_changed(meta),
    )


def parse_trust_domain(raw: Raw) -> TrustDomain:
    """A TrustDomain."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    issuer = spec.get("issuer") or {}
    ttl = (issuer.get("selfSigned") or {}).get("ttl")
    return TrustDomain(
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        generation=int(meta.get("generation", 1)),
        root_ttl=parse_duration(ttl) if ttl else DEFAULT_ROOT_TTL,
        issuer_secret=(issuer.get("secretRef") or {}).get("name") or "",
        rotation=_rotation(spec.get("rotation") or {}),
        revoked=parse_revoked(spec.get("revoked")),
    )


def _rotation(rotation: Raw) -> RotationSpec:
    return RotationSpec(
        trigger=rotation.get("trigger") or "",
        paused=rotation.get("paused") is True,
        force=rotation.get("force") or "",
        back=rotation.get("back") or "",
    )


def _changed(meta: Raw) -> str:
    """By what the API server notes of each writer (managedFields): the status has writers of its own."""
    writers = (each for each in meta.get("managedFields") or () if "f:spec" in (each.get("fieldsV1") or {}))
    return max((each.get("time") or "" for each in writers), default="")


def _spec(spec: Raw, promoted: bool) -> PolicySpec:
    mode, ttl, foreign = spec.get("mode"), (spec.get("certificate") or {}).get("ttl"), spec.get("foreign")
    return PolicySpec(
        mode=_mode(mode, promoted) if mode else None,
        ports={int(each["port"]): Mode(each["mode"]) for each in spec.get("ports") or ()},
        ttl=parse_duration(ttl) if ttl else None,
        foreign=_foreign(foreign) if foreign is not None else None,
        allow=_rules(spec["allow"]) if spec.get("allow") is not None else None,
        deny=_rules(spec.get("deny") or ()),
        enforcement=Enforcement(spec["enforcement"]) if spec.get("enforcement") else None,
        promote_after=_promote_after(spec),
        limits=_limits(spec["limits"]) if spec.get("limits") is not None else None,
        outbound=_outbound(spec["outbound"]) if spec.get("outbound") is not None else None,
    )


def _mode(word: str, promoted: bool) -> Mode:
    if word == AUTO:
        return Mode.STRICT if promoted else Mode.PERMISSIVE
    return Mode(word)


def _promote_after(spec: Raw) -> timedelta | None:
    if spec.get("mode") != AUTO:
        return None
    return parse_duration(spec["promoteAfter"]) if spec.get("promoteAfter") else DEFAULT_PROMOTE_AFTER


def _rules(entries: Sequence[Raw]) -> tuple[AccessRule, ...]:
    return tuple(
        AccessRule(
            None if each.get("from") is None else tuple(map(_caller, each["from"])),
            None if each.get("ports") is None else frozenset(int(port) for port in each["ports"]),
        )
        for each in entries
    )


def _caller(caller: Raw) -> Caller:
    return Caller(
        service_account=caller.get("serviceAccount") or "",
        namespace=caller.get("namespace") or "",
        principal=caller.get("principal") or "",
        spki_sha256=caller.get("spkiSHA256") or "",
    )


def _foreign(foreign: Raw) -> Foreign:
    oldest = foreign.get("minVersion")
    ports = frozenset(int(port) for port in foreign.get("ports") or ())
    return Foreign(ports, TlsVersion(oldest) if oldest else TlsVersion.TLS_1_3)


def _limits(limits: Raw) -> LimitsSpec:
    return LimitsSpec(_share(limits), _share(limits.get("perClient") or {}), limits.get("handshakesPerSecond"))


def _share(share: Raw) -> ShareSpec:
    per_second = share.get("connectionsPerSecond")
    return ShareSpec(
        share.get("maxConnections"), RateSpec(per_second, share.get("burst")) if per_second is not None else None
    )


def _outbound(outbound: Raw) -> OutboundSpec:
    unknown, plaintext, exempt = outbound.get("unknown"), outbound.get("plaintext"), outbound.get("except")
    return OutboundSpec(
        Outgoing(unknown) if unknown else None,
        Outgoing(plaintext) if plaintext else None,
        None if exempt is None else tuple(found for each in exempt if (found := _exempt(each)) is not None),
    )


def _exempt(exempt: Raw) -> Exempt | None:
    """None for a network that is none: the schema does not see every one, and what nobody can read exempts nothing."""
    ports = exempt.get("ports")
    try:
        cidr = ip_network(exempt["cidr"], strict=False) if exempt.get("cidr") else None
    except ValueError:
        return None
    return Exempt(cidr, exempt.get("service") or "", None if ports is None else frozenset(int(port) for port in ports))
