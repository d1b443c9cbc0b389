"""A trust domain's bundle: the roots that may have signed its leaves, kept apart from every other trust domain's.

The fingerprint is the evidence that root rotation waits for: the sidecar reports it, the operator compares it, and both
compute it here.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from handfast_sidecar.errors import BadCertificate

MAX_CERTIFICATES: Final = 64
"""A bundle holds the roots of one rotation, two or three; far more is somebody else's CA store."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The roots of one trust domain."""

    trust_domain: str
    certificates: tuple[x509.Certificate, ...]

    @property
    def fingerprint(self) -> str:
        """See `fingerprint`."""
        return fingerprint(self.certificates)

    @property
    def anchors(self) -> frozenset[str]:
        """See `anchor`."""
        return frozenset(map(anchor, self.certificates))


def parse_bundle(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file, each of them a CA; raises BadCertificate."""
    if b"-----BEGIN" not in pem:
        raise BadCertificate("bundle_empty", "the bundle holds no certificate: nobody could be trusted")
    try:
        certificates = tuple(x509.load_pem_x509_certificates(pem))
        signers = [_is_ca(certificate) for certificate in certificates]
    except (ValueError, x509.InvalidVersion) as error:
        raise BadCertificate("bundle_malformed", f"the bundle is no list of PEM certificates: {error}") from error
    if len(certificates) > MAX_CERTIFICATES:
        raise BadCertificate(
            "bundle_too_large",
            f"the bundle holds {len(certificates)} certificates, at most {MAX_CERTIFICATES} are read",
        )
    for certificate, signs in zip(certificates, signers, strict=True):
        if not signs:
            raise BadCertificate(
                "bundle_not_a_ca",
                f"the bundle's certificate {certificate.subject.rfc4514_string()!r} is no CA: it cannot sign a leaf",
            )
    return certificates


def fingerprint(certificates: Iterable[x509.Certificate]) -> str:
    """SHA-256 over the sorted DER encodings: the same roots give the same word, in whatever order and how often."""
    digest = hashlib.sha256()
    for der in sorted({certificate.public_bytes(Encoding.DER) for certificate in certificates}):
        digest.update(der)
    return digest.hexdigest()


def anchor(root: x509.Certificate) -> str:
    """SHA-256 over a root's name and public key, hexadecimal: what makes a trust anchor (RFC 5280 6.1.1 d).

    A root that is issued again with its name and key vouches for the same leaves.
    """
    key = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(root.subject.public_bytes() + key).hexdigest()


def _is_ca(certificate: x509.Certificate) -> bool:
    """RFC 5280 4.2.1.9: only a certificate that says cA may verify signatures on certificates."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
