"""An authority as the Secret that keeps it, and back. Pure.

Its one rule: a Secret that is not whole is no authority, and what is said of it never quotes a key.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from handfast_operator.authority.authority import Authority, Signer
from handfast_operator.authority.state import AuthorityState
from handfast_operator.cluster.tls_secret import tls_secret
from handfast_operator.resources.times import format_time, parse_time
from handfast_sidecar.identity.bundle import parse_bundle
from handfast_sidecar.wellknown import FILE_BUNDLE, FILE_CERTIFICATE, FILE_KEY, LABEL_AUTHORITY

Json = dict[str, Any]
ANNOTATION_STATE: Final = "handfast.dev/state"
"""Prepared, Distributed, Active, Draining or Retired."""
ANNOTATION_TRUST_DOMAIN: Final = "handfast.dev/trust-domain"
"""Whose authority it is."""
ANNOTATION_SINCE: Final = "handfast.dev/since"
"""When it entered its state."""
ANNOTATION_TRIGGER: Final = "handfast.dev/trigger"
"""The request (`spec.rotation.trigger`) that it answers."""
ANNOTATION_SOURCE: Final = "handfast.dev/source"
"""The external chain that it is a copy of."""
ANNOTATION_FORCED: Final = "handfast.dev/forced"
"""`true` when `spec.rotation.force` was obeyed for it."""
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def label_value(trust_domain: str) -> str:
    """A trust domain as a label: itself where the API server takes it, else the head of its digest."""
    if _LABEL_VALUE.fullmatch(trust_domain):
        return trust_domain
    return f"sha256-{hashlib.sha256(trust_domain.encode()).hexdigest()[:32]}"


def build_authority_secret(authority: Authority, namespace: str) -> Json:
    """The Secret as it is written, over the version that the authority was read from alone."""
    said = {
        ANNOTATION_STATE: authority.state.value,
        ANNOTATION_TRUST_DOMAIN: authority.trust_domain,
        ANNOTATION_SINCE: format_time(authority.since) if authority.since is not None else "",
        ANNOTATION_TRIGGER: authority.trigger,
        ANNOTATION_SOURCE: authority.source,
        ANNOTATION_FORCED: "true" if authority.forced else "",
    }
    metadata: Json = {
        "name": authority.name,
        "namespace": namespace,
        "labels": {LABEL_AUTHORITY: label_value(authority.trust_domain)},
        "annotations": {name: value for name, value in said.items() if value},
    }
    if authority.resource_version:
        metadata["resourceVersion"] = authority.resource_version
    certificates = authority.chain or (authority.certificate,)
    files = {
        FILE_CERTIFICATE: b"".join(each.public_bytes(Encoding.PEM) for each in certificates),
        FILE_KEY: authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }
    if authority.root is not None:
        files[FILE_BUNDLE] = authority.root.public_bytes(Encoding.PEM)
    return tls_secret(metadata, files)


def parse_authority_secret(raw: Json, trust_domain: str) -> Authority:
    """The inverse. Raises ValueError, KeyError, TypeError or BadCertificate."""
    metadata = raw["metadata"]
    said: Mapping[str, str] = metadata.get("annotations") or {}
    signer = _parse_signer(raw.get("data") or {})
    return Authority(
        name=metadata["name"],
        trust_domain=trust_domain,
        state=AuthorityState(said[ANNOTATION_STATE]),
        certificate=signer.certificate,
        key=signer.key,
        resource_version=metadata["resourceVersion"],
        chain=signer.chain,
        root=signer.root,
        since=_since(said.get(ANNOTATION_SINCE, "")),
        trigger=said.get(ANNOTATION_TRIGGER, ""),
        source=said.get(ANNOTATION_SOURCE, ""),
        forced=said.get(ANNOTATION_FORCED) == "true",
    )


def _since(text: str) -> datetime | None:
    """None for what somebody made unreadable: the authority is as good without it."""
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def _parse_signer(data: Mapping[str, str]) -> Signer:
    certificates = parse_bundle(_file(data, FILE_CERTIFICATE))
    key = load_pem_private_key(_file(data, FILE_KEY), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError("the key can sign no leaf")
    if key.public_key() != certificates[0].public_key():
        raise ValueError("the key is not the certificate's")
    if FILE_BUNDLE not in data:
        return Signer(certificates[0], key)
    (root,) = parse_bundle(_file(data, FILE_BUNDLE))
    return Signer(certificates[0], key, certificates, root)


def _file(data: Mapping[str, str], name: str) -> bytes:
    return base64.b64decode(data[name], validate=True)
