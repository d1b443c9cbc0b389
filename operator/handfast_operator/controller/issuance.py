"""What is to be done about a pod's Secret. Pure: facts in, one decision out.

Its one rule: a Secret that the pod does not own is never written, and one that somebody else wrote is looked at before
what its annotations say is believed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from handfast_operator.cluster.objects import Pod, SecretMeta
from handfast_operator.resources.times import parse_time
from handfast_sidecar.wellknown import FILE_BUNDLE, FILE_CERTIFICATE, FILE_CONFIG, FILE_KEY, LABEL_IDENTITY

OUR_MANAGER: Final = "handfast-controller"
"""Field manager of the controller's writes (`cluster.client.FIELD_MANAGER`)."""
ANNOTATION_SERIAL: Final = "handfast.dev/serial"
"""Serial number of the leaf, in hexadecimal."""
ANNOTATION_ISSUED_AT: Final = "handfast.dev/issued-at"
"""When the leaf was issued."""
ANNOTATION_NOT_AFTER: Final = "handfast.dev/not-after"
"""When it ends."""
ANNOTATION_RENEW_AT: Final = "handfast.dev/renew-at"
"""When the controller replaces it."""
ANNOTATION_CONFIG: Final = "handfast.dev/config"
"""Digest of config.json without its revision."""
ANNOTATION_BUNDLE: Final = "handfast.dev/bundle"
"""Fingerprint of ca.crt."""
ANNOTATION_ISSUER: Final = "handfast.dev/issuer"
"""Serial of the authority that signed the leaf."""
EXPIRED: Final = "expired"
"""The reason of a leaf that is issued because the one before it has ended."""
REVOKED: Final = "revoked"
"""The reason of one that is issued because nobody trusts the one before it any more."""
FILES: Final = frozenset({FILE_CERTIFICATE, FILE_KEY, FILE_BUNDLE, FILE_CONFIG})
TTL_SLACK: Final = timedelta(minutes=7)
"""More than two controllers' clocks may differ, each wrong by three minutes: the next leader must not take every leaf
of the last one for one of a longer TTL."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a Secret is measured against."""

    issuers: frozenset[str]
    """Serials of the authorities that are trusted."""
    bundle: str
    """Fingerprint of the bundle."""
    config: str
    """Digest of the wanted config.json."""
    ttl: timedelta
    trusted_version: int = 0
    """The Secret's resourceVersion that we wrote or verified; 0: none since this process started."""
    draining: Mapping[str, datetime] = field(default_factory=dict)
    """When this pod's leaf is replaced if one of these signed it: serials of the authorities that drain."""
    revoked: frozenset[str] = frozenset()
    """Serials of leaves that nobody trusts any more."""
    identity_revoked: str = ""
    """Why the pod's identity gets no leaf; empty: it gets one."""


@dataclass(frozen=True, slots=True)
class Issue:
    """A new key and a new leaf, with everything else as wanted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """The same key and leaf, with another bundle or configuration."""

    reason: str


@dataclass(frozen=True, slots=True)
class Verify:
    """Read the Secret, and repair it where it is damaged."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """All is well until then."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Leave:
    """The pod needs nothing (any more)."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing may be written; the pod's owner is told why."""

    reason: str
    message: str


Decision = Issue | Reconfigure | Verify | Wait | Leave | Refuse


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the annotations say of the Secret's data."""

    not_after: datetime
    renew_at: datetime
    config: str
    bundle: str
    issuer: str
    serial: str = ""


def decide(now: datetime, pod: Pod, meta: SecretMeta | None, facts: Facts) -> Decision:
    """The next step towards the Secret that the pod should have."""
    decision = _decide(now, pod, meta, facts)
    if isinstance(decision, Issue) and facts.identity_revoked:
        return Refuse("identity_revoked", facts.identity_revoked)
    return decision


def _decide(now: datetime, pod: Pod, meta: SecretMeta | None, facts: Facts) -> Decision:
    if not pod.meshed or pod.terminal or pod.deleting:
        return Leave()
    if pod.mirror:
        return Refuse("mirror_pod", "a static pod has no identity: its node writes it, and could write any other")
    if meta is None:
        return Issue("new")
    if pod.uid not in meta.owner_uids:
        return Refuse(
            "foreign_secret",
            f"the Secret {meta.namespace}/{meta.name} exists and does not belong to this pod, so it is not overwritten:"
            " delete it, and the identity is issued within seconds",
        )
    recorded = read_annotations(meta)
    if recorded is None or not _is_ours(meta, facts.trusted_version):
        return Verify("unreadable_annotations" if recorded is None else "foreign_writer")
    return _decide_recorded(now, recorded, facts)


def _decide_recorded(now: datetime, recorded: Recorded, facts: Facts) -> Decision:
    if recorded.issuer not in facts.issuers:
        return Issue("issuer_not_trusted")
    if recorded.serial in facts.revoked:
        return Issue(REVOKED)
    if now >= recorded.not_after:
        return Issue(EXPIRED)
    if now >= recorded.renew_at:
        return Issue("renewal")
    if recorded.not_after - now > facts.ttl + TTL_SLACK:
        # The policy's TTL became shorter: the old leaf would outlive one that is issued now.
        return Issue("shorter_ttl")
    drain_at = facts.draining.get(recorded.issuer, recorded.renew_at)
    if now >= drain_at:
        return Issue("draining")
    if recorded.bundle != facts.bundle:
        return Reconfigure("bundle")
    if recorded.config != facts.config:
        return Reconfigure("config")
    return Wait(min(recorded.renew_at, drain_at))


def _is_ours(meta: SecretMeta, trusted_version: int) -> bool:
    """Whether nobody else wrote it: by version while this process lives, by managed fields after a restart."""
    if meta.labels.get(LABEL_IDENTITY) != "true":
        return False
    if trusted_version:
        return meta.resource_version == trusted_version
    return meta.managers == (OUR_MANAGER,) and frozenset(meta.data_keys) == FILES


def read_annotations(meta: SecretMeta) -> Recorded | None:
    """What we wrote beside the data; None when a part is missing or unreadable."""
    found = meta.annotations
    try:
        return Recorded(
            not_after=parse_time(found[ANNOTATION_NOT_AFTER]),
            renew_at=parse_time(found[ANNOTATION_RENEW_AT]),
            config=found[ANNOTATION_CONFIG],
            bundle=found[ANNOTATION_BUNDLE],
            issuer=found[ANNOTATION_ISSUER],
            serial=found.get(ANNOTATION_SERIAL, ""),
        )
    except (KeyError, ValueError):
        return None
