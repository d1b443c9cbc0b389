"""A self-signed root of a trust domain. Pure: key and certificate out, nothing kept.

Its one rule: the root signs leaves and nothing else (`pathLen` 0), lives for a bounded time, and says for which trust
domain: a signing certificate is itself an SVID whose SPIFFE ID has no path (X509-SVID, section 3.2).
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from handfast_operator.authority.schedule import BACKDATE
from handfast_sidecar.identity.spiffe import SCHEME, check_trust_domain

ROOT_TTL: Final = timedelta(days=90)
"""Short, because replacing a root is routine here; long enough for nobody to notice that it happens."""
MAX_COMMON_NAME: Final = 64
"""RFC 5280, ub-common-name."""


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """A new root."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def make_root(trust_domain: str, now: datetime, ttl: timedelta = ROOT_TTL) -> SelfSigned:
    """A root that lives for `ttl` from now. Raises BadSpiffeId for a name that is no trust domain."""
    check_trust_domain(trust_domain)
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    subject = root_subject(trust_domain, serial)
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    start = now.replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(start - BACKDATE)
        .not_valid_after(start + ttl)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(SCHEME + trust_domain)]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return SelfSigned(certificate, key)


def root_subject(trust_domain: str, serial: int) -> x509.Name:
    """Two roots of one trust domain must differ in name too: OpenSSL looks an issuer up by it."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Handfast"),
            x509.NameAttribute(NameOID.COMMON_NAME, trust_domain[:MAX_COMMON_NAME]),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{serial:x}"[:16]),
        ]
    )


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """A signer's bits, or a leaf's: X509-SVID 4.3 lets nobody have both."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
