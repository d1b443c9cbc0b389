"""The Secret of a pod's identity: how it is written, and what of a written one can be kept. Pure.

Its one rule: what is kept of a Secret was checked as its sidecar will check it, against our bundle and the pod that the
API server shows; whoever can write the Secret can neither extend a leaf nor slip in another pod's.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.leaf import IssuedLeaf
from handfast_operator.authority.schedule import BACKDATE, renew_at
from handfast_operator.authority.state import AuthorityState
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.tls_secret import tls_secret
from handfast_operator.controller.config import Wanted, digest_of
from handfast_operator.controller.issuance import (
    ANNOTATION_BUNDLE,
    ANNOTATION_CONFIG,
    ANNOTATION_ISSUED_AT,
    ANNOTATION_ISSUER,
    ANNOTATION_NOT_AFTER,
    ANNOTATION_RENEW_AT,
    ANNOTATION_SERIAL,
)
from handfast_operator.resources.times import format_time
from handfast_sidecar.config.document import SidecarConfig
from handfast_sidecar.errors import BadCertificate, BadConfig
from handfast_sidecar.identity.leaf import serial_of
from handfast_sidecar.identity.material import Material, parse_material
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.wellknown import FILE_BUNDLE, FILE_CERTIFICATE, FILE_CONFIG, FILE_KEY, LABEL_IDENTITY

Json = dict[str, Any]
NEVER: Final = datetime.min.replace(tzinfo=UTC)
_LABELS: Final = {LABEL_IDENTITY: "true"}


@dataclass(frozen=True, slots=True)
class Content:
    """All that a pod's Secret is made of."""

    pod: Pod
    leaf: IssuedLeaf
    authorities: AuthoritySet
    wanted: Wanted


def identity_of(trust_domain: str, pod: Pod) -> SpiffeId:
    """Derived from the pod that the API server shows, never from an annotation. Raises BadSpiffeId."""
    return SpiffeId.of_service_account(trust_domain, pod.namespace, pod.service_account)


def build_secret(content: Content, resource_version: str = "") -> Json:
    """The Secret as it is created, or with a version written over that version alone."""
    metadata: Json = {
        "name": content.pod.secret,
        "namespace": content.pod.namespace,
        "labels": dict(_LABELS),
        "annotations": annotations(content),
        # It dies with the pod. Without `blockOwnerDeletion`, which needs a permission on the pod's finalizers.
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": content.pod.name, "uid": content.pod.uid}],
    }
    if resource_version:
        metadata["resourceVersion"] = resource_version
    data = {
        FILE_CERTIFICATE: content.leaf.chain_pem,
        FILE_KEY: content.leaf.key_pem,
        FILE_BUNDLE: content.authorities.bundle_pem,
        FILE_CONFIG: content.wanted.document,
    }
    return tls_secret(metadata, data)


def annotations(content: Content) -> dict[str, str]:
    """What the next decision reads instead of the data."""
    leaf = content.leaf
    return {
        ANNOTATION_SERIAL: leaf.serial,
        ANNOTATION_ISSUED_AT: format_time(leaf.issued_at),
        ANNOTATION_NOT_AFTER: format_time(leaf.not_after),
        ANNOTATION_RENEW_AT: format_time(renew_at(leaf.issued_at, leaf.not_after, content.pod.uid)),
        ANNOTATION_CONFIG: content.wanted.digest,
        ANNOTATION_BUNDLE: content.authorities.fingerprint,
        ANNOTATION_ISSUER: leaf.issuer,
    }


def held_leaf(raw: Json, pod: Pod, authorities: AuthoritySet, wanted: Wanted, now: datetime) -> IssuedLeaf:
    """The leaf and key in a Secret, when they are this pod's and good; raises BadCertificate with what is wrong."""
    chain, key = (_file(raw, name) for name in (FILE_CERTIFICATE, FILE_KEY))
    # Our bundle, not the Secret's: that may be what was damaged.
    material = parse_material(chain, key, authorities.bundle_pem, wanted.document)
    leaf = material.leaf
    if (leaf.pod_uid, leaf.spiffe_id) != (pod.uid, identity_of(authorities.trust_domain, pod)):
        raise BadCertificate("wrong_identity", f"the leaf is {leaf.spiffe_id} of pod {leaf.pod_uid}, not this pod's")
    if material.expired(now):
        raise BadCertificate("expired", f"the leaf expired at {format_time(material.expires_at)}")
    return IssuedLeaf(
        chain_pem=chain,
        key_pem=key,
        serial=leaf.serial,
        issued_at=leaf.not_before + BACKDATE,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        issuer=_issuer_of(material, authorities),
    )


def _issuer_of(material: Material, authorities: AuthoritySet) -> str:
    """Serial of the authority that signed the leaf; of one whose key is lost what is left, its place in the bundle."""
    signers = [each for each in authorities.authorities if _signed(each, material)]
    if not signers:
        return serial_of(next(each for each in authorities.bundle if each.subject == material.chain[-1].issuer))
    # An external issuer may be renewed with the same key: whatever it signed then counts for the one that signs now.
    return max(signers, key=lambda each: (each.state is AuthorityState.ACTIVE, each.since or NEVER)).serial


def _signed(authority: Authority, material: Material) -> bool:
    key_id = (authority.key_identifier.key_identifier or b"").hex()
    return key_id == material.leaf.issuer and (len(material.chain) == 1 or material.chain[1] == authority.certificate)


def is_intact(raw: Json, content: Content) -> bool:
    """Whether a Secret says what it should. An older revision in its config.json is no difference."""
    metadata = raw["metadata"]
    desired = build_secret(content)
    data: Mapping[str, str] = raw.get("data") or {}
    same_files = all(data.get(name) == desired["data"][name] for name in (FILE_CERTIFICATE, FILE_KEY, FILE_BUNDLE))
    return (
        same_files
        and _config_says(raw, content.wanted)
        and _includes(metadata.get("labels") or {}, _LABELS)
        and _includes(metadata.get("annotations") or {}, desired["metadata"]["annotations"])
    )


def _config_says(raw: Json, wanted: Wanted) -> bool:
    """A revision from the future would make the sidecar deaf to the directory."""
    try:
        config = SidecarConfig.parse(_file(raw, FILE_CONFIG))
    except (BadCertificate, BadConfig):
        return False
    return (
        digest_of(config) == wanted.digest
        and config.revision <= wanted.config.revision
        and config.revoked.revision <= wanted.config.revoked.revision
    )


def _includes(found: Mapping[str, str], expected: Mapping[str, str]) -> bool:
    return all(found.get(name) == value for name, value in expected.items())


def _file(raw: Json, name: str) -> bytes:
    try:
        return base64.b64decode((raw.get("data") or {})[name], validate=True)
    except (KeyError, TypeError, ValueError):
        raise BadCertificate("missing_file", f"the Secret has no readable {name}") from None
