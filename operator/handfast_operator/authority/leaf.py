"""A leaf: the certificate that a pod proves its identity with (DESIGN: identity and certificates). Pure.

Its one rule: a new key each time, and a life that never outlasts the issuer's, nor that of any certificate above it.
What it names is derived from the pod that the API server shows, by the caller; nothing here reads what a pod says of
itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from handfast_operator.authority.authority import Authority, NoAuthority, SigningKey
from handfast_operator.authority.root import MAX_COMMON_NAME
from handfast_operator.authority.schedule import BACKDATE
from handfast_sidecar.identity.leaf import serial_of
from handfast_sidecar.identity.spiffe import SpiffeId


@dataclass(frozen=True, slots=True)
class LeafRequest:
    """Whom a leaf is for."""

    spiffe_id: SpiffeId | None
    """None only for a server that callers know by DNS name: the webhook."""
    pod_name: str
    """For people: the subject's common name, cut to its limit of 64 characters."""
    pod_uid: str
    """The subject's serialNumber; empty for what is no pod."""
    ttl: timedelta
    dns_names: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class IssuedLeaf:
    """A leaf and its key, as they are written."""

    chain_pem: bytes
    """Leaf first, then the intermediates; a root is not part of it."""
    key_pem: bytes = field(repr=False)
    serial: str
    """Lower-case hexadecimal, as sidecars report it."""
    issued_at: datetime
    not_before: datetime
    not_after: datetime
    issuer: str
    """Serial of the certificate that signed it."""


def issue(authority: Authority, request: LeafRequest, now: datetime) -> IssuedLeaf:
    """A new key and its leaf. Raises NoAuthority when the authority cannot sign any more."""
    start = now.replace(microsecond=0)
    not_before, not_after = start - BACKDATE, min(start + request.ttl, authority.ends)
    if not_after <= start:
        raise NoAuthority(
            f"the authority {authority.name} of {authority.trust_domain} expired at {authority.ends}:"
            " restart the controller, so that it makes a new one"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    public_key = key.public_key()
    certificate = (
        authority.leaves.subject_name(_subject(request))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_names(request), critical=False)
        .sign(authority.key, _hash_for(authority.key))
    )
    return IssuedLeaf(
        chain_pem=b"".join(each.public_bytes(Encoding.PEM) for each in (certificate, *authority.chain)),
        key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        serial=serial_of(certificate),
        issued_at=start,
        not_before=not_before,
        not_after=not_after,
        issuer=authority.serial,
    )


def _hash_for(key: SigningKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """As strong as the curve: TLS 1.3 has ECDSA in these pairs alone (RFC 8446 4.2.3)."""
    if isinstance(key, rsa.RSAPrivateKey) or key.curve.key_size <= 256:
        return hashes.SHA256()
    return hashes.SHA384() if key.curve.key_size <= 384 else hashes.SHA512()


def _subject(request: LeafRequest) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, request.pod_name[:MAX_COMMON_NAME])]
    if request.pod_uid:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, request.pod_uid))
    return x509.Name(attributes)


def _names(request: LeafRequest) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in request.dns_names]
    if request.spiffe_id is not None:
        names.insert(0, x509.UniformResourceIdentifier(str(request.spiffe_id)))
    return x509.SubjectAlternativeName(names)
