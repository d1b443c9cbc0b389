"""A leaf: the certificate that a pod proves its identity with (DESIGN: identity and certificates). Pure.

Its one rule: a new key each time, and a life that never outlasts the issuer's. What it names is derived from the pod
that the API server shows, by the caller; nothing here reads what a pod says of itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from handfast_operator.authority.authority import Authority, NoAuthority
from handfast_operator.authority.root import BACKDATE, MAX_COMMON_NAME, key_usage
from handfast_sidecar.identity.leaf import serial_of
from handfast_sidecar.identity.spiffe import SpiffeId

_BOTH_ROLES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])


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
    """Leaf first; a root is not part of it."""
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
    signer = authority.certificate
    not_before, not_after = start - BACKDATE, min(start + request.ttl, signer.not_valid_after_utc)
    if not_after <= start:
        raise NoAuthority(
            f"the authority {authority.name} of {authority.trust_domain} expired at {signer.not_valid_after_utc}:"
            " restart the controller, so that it makes a new one"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_subject(request))
        .issuer_name(signer.subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(_BOTH_ROLES, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority.key_identifier, critical=False)
        .add_extension(_names(request), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return IssuedLeaf(
        chain_pem=certificate.public_bytes(Encoding.PEM),
        key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        serial=serial_of(certificate),
        issued_at=start,
        not_before=not_before,
        not_after=not_after,
        issuer=authority.serial,
    )


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
