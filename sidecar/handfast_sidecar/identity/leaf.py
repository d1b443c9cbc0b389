"""What OpenSSL does not check: that a certificate is an X509-SVID, and whose.

OpenSSL accepts a CA certificate as a leaf, even with its strict flag, and knows nothing of SPIFFE. So both sides of a
tunnel read the peer's leaf here after the handshake. The one rule: a certificate either passes every check and becomes
a `Leaf`, or raises BadCertificate with a reason word of its own; nobody looks at the raw certificate afterwards.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from handfast_sidecar.errors import BadCertificate, BadSpiffeId
from handfast_sidecar.identity.spiffe import SpiffeId

E = TypeVar("E", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Leaf:
    """The facts of a leaf that passed every check."""

    spiffe_id: SpiffeId
    pod_uid: str
    """Subject serialNumber: empty in an SVID that another SPIFFE implementation issued."""
    pod_name: str
    """Subject common name, cut to 64 characters by the issuer; for people, never for decisions."""
    serial: str
    """The certificate's serial number, lower-case hexadecimal: what a sidecar reports as evidence."""
    not_before: datetime
    not_after: datetime
    spki_sha256: str = ""
    """SHA-256 of its SubjectPublicKeyInfo (RFC 5280 4.1.2.7), hexadecimal: what a policy may pin."""
    issuer: str = ""
    """Its authority key identifier (RFC 5280 4.2.1.1), hexadecimal: which key signed it; empty where it has none."""


def read_svid(certificate: x509.Certificate) -> Leaf:
    """The leaf's facts, or BadCertificate. Validity in time and signatures are OpenSSL's part of the work."""
    try:
        return _read(certificate)
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        # The parser reads extensions lazily, so a malformed one surfaces only here.
        raise BadCertificate("malformed", f"the leaf cannot be parsed ({error}): its issuer is broken") from error


def read_peer(certificate: x509.Certificate, trust_domain: str) -> Leaf:
    """`read_svid`, and the leaf is of the trust domain whose bundle verified its chain (X509-SVID, section 5)."""
    leaf = read_svid(certificate)
    if leaf.spiffe_id.trust_domain != trust_domain:
        raise BadCertificate(
            "wrong_trust_domain",
            f'the peer\'s certificate is from trust domain "{leaf.spiffe_id.trust_domain}", expected "{trust_domain}":'
            " both ends must be pods of one operator",
        )
    return leaf


def serial_of(certificate: x509.Certificate) -> str:
    """The serial number as `Leaf.serial` and the evidence spell it."""
    return f"{certificate.serial_number:x}"


def _read(certificate: x509.Certificate) -> Leaf:
    if certificate.version is not x509.Version.v3:
        raise BadCertificate("not_v3", "the leaf is no version 3 certificate: only those have extensions")
    _check_constraints(certificate)
    _check_key_usage(certificate)
    _check_extended_key_usage(certificate)
    return Leaf(
        spiffe_id=_spiffe_id(certificate),
        pod_uid=_subject(certificate, NameOID.SERIAL_NUMBER),
        pod_name=_subject(certificate, NameOID.COMMON_NAME),
        serial=serial_of(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        spki_sha256=hashlib.sha256(
            certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).hexdigest(),
        issuer=_issuer(certificate),
    )


def key_identifier_of(authority: x509.Certificate) -> str:
    """The name under which leaves of an authority know it, as `Leaf.issuer` spells it (RFC 5280 4.2.1.2)."""
    return authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


def _issuer(certificate: x509.Certificate) -> str:
    extension = extension_of(certificate, x509.AuthorityKeyIdentifier)
    return (extension.value.key_identifier or b"").hex() if extension is not None else ""


def _check_constraints(certificate: x509.Certificate) -> None:
    """X509-SVID 4.1 and 5.2: a leaf's cA is false; an absent extension means false (RFC 5280 4.2.1.9)."""
    extension = extension_of(certificate, x509.BasicConstraints)
    if extension is not None and extension.value.ca:
        raise BadCertificate("ca_as_leaf", "the peer presents a CA certificate as its leaf: a signer is no workload")


def _check_key_usage(certificate: x509.Certificate) -> None:
    """X509-SVID 4.3: present and critical, digitalSignature set, keyCertSign and cRLSign not (also 5.2)."""
    extension = extension_of(certificate, x509.KeyUsage)
    if extension is None:
        raise BadCertificate("no_key_usage", "the leaf has no keyUsage: an X509-SVID must say what its key may do")
    usage = extension.value
    if usage.key_cert_sign:
        raise BadCertificate("key_usage_cert_sign", "the leaf's key may sign certificates: a signer is no workload")
    if usage.crl_sign:
        raise BadCertificate("key_usage_crl_sign", "the leaf's key may sign revocation lists: a signer is no workload")
    if not usage.digital_signature:
        raise BadCertificate("no_digital_signature", "the leaf's keyUsage lacks digitalSignature, which TLS 1.3 needs")
    if not extension.critical:
        raise BadCertificate("key_usage_not_critical", "the leaf's keyUsage is not critical, as X509-SVID 4.3 asks")


_BOTH_ROLES: Final = (
    (ExtendedKeyUsageOID.CLIENT_AUTH, "no_client_auth", "clientAuth"),
    (ExtendedKeyUsageOID.SERVER_AUTH, "no_server_auth", "serverAuth"),
)


def _check_extended_key_usage(certificate: x509.Certificate) -> None:
    """X509-SVID 4.4: both client and server authentication; RFC 5280 4.2.1.12: an absent extension allows all."""
    extension = extension_of(certificate, x509.ExtendedKeyUsage)
    if extension is None:
        raise BadCertificate("no_extended_key_usage", "the leaf has no extendedKeyUsage: it must name both roles")
    for role, reason, name in _BOTH_ROLES:
        if role not in extension.value:
            raise BadCertificate(reason, f"the leaf's extendedKeyUsage lacks {name}: a sidecar is client and server")


def _spiffe_id(certificate: x509.Certificate) -> SpiffeId:
    """X509-SVID 2: exactly one URI SAN; other kinds of names may stand beside it and mean nothing here."""
    extension = extension_of(certificate, x509.SubjectAlternativeName)
    uris = extension.value.get_values_for_type(x509.UniformResourceIdentifier) if extension is not None else []
    if not uris:
        raise BadCertificate("no_uri_san", "the leaf has no URI among its names, so it has no SPIFFE ID")
    if len(uris) > 1:
        raise BadCertificate("many_uri_sans", f"the leaf has {len(uris)} URIs among its names: which one is it?")
    try:
        return SpiffeId.parse(uris[0])
    except BadSpiffeId as error:
        raise BadCertificate("bad_spiffe_id", f"the leaf's URI is no SPIFFE ID: {error}") from error


def _subject(certificate: x509.Certificate, oid: ObjectIdentifier) -> str:
    values = certificate.subject.get_attributes_for_oid(oid)
    if len(values) > 1:
        raise BadCertificate("bad_subject", f"the leaf's subject has {len(values)} values of {oid.dotted_string}")
    return str(values[0].value) if values else ""


def extension_of(certificate: x509.Certificate, kind: type[E]) -> x509.Extension[E] | None:
    """An extension, when the certificate has it."""
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
