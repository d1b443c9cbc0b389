"""Whether one certificate above a leaf, that somebody else issued, is fit to stand there. Pure.

Its one rule: what a peer would refuse in a handshake is refused here, before anything is signed, and with the name of
the certificate that is wrong. OpenSSL's strict profile (VERIFY_X509_STRICT) asks for more than RFC 5280 does.
"""

from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from handfast_operator.resources.times import format_time
from handfast_sidecar.errors import HandfastError
from handfast_sidecar.identity.leaf import extension_of

LEAST_RSA_BITS: Final = 2048
"""OpenSSL's security level 2, and ours, ask for 112 bits of strength (SP 800-57, table 2)."""
MOST_RSA_BITS: Final = 8192
"""A longer key takes so long for a signature that a rollout would wait for it."""
LEAST_EC_BITS: Final = 256
CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
"""What both OpenSSL and Go, in which the API server is written, verify with."""
MOST_NAME: Final = 120
"""Characters of a subject that a sentence repeats."""
_USE: Final = "use ECDSA P-256, or RSA with 3072 bits"
WEAK_HASHES: Final = (hashes.MD5, hashes.SHA1)
_ROLES: Final = ((ExtendedKeyUsageOID.CLIENT_AUTH, "clientAuth"), (ExtendedKeyUsageOID.SERVER_AUTH, "serverAuth"))


class IssuerRefused(HandfastError):
    """An external issuer that must not sign; `reason` is a stable word, the message what is wrong and what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def check_authority(certificate: x509.Certificate, *, below: int, anchor: bool, now: datetime) -> None:
    """Raise IssuerRefused unless the certificate may stand above a leaf.

    `below`: how many authorities its path length has to allow between it and the leaf; `anchor`: it is the root.
    Raises what the parser raises for a certificate that is malformed inside.
    """
    if certificate.serial_number <= 0:
        raise IssuerRefused(
            "bad_serial",
            f"{name_of(certificate)} has the serial number {certificate.serial_number}, and RFC 5280 4.1.2.2 wants it"
            " above zero: have it issued with a random one",
        )
    _check_constraints(certificate, below)
    _check_key_usage(certificate)
    _check_roles(certificate)
    _check_critical(certificate)
    _check_key_identifiers(certificate, anchor=anchor)
    check_key(certificate.public_key(), f"the key of {name_of(certificate)}")
    _check_time(certificate, now)


def name_of(certificate: x509.Certificate) -> str:
    """How a sentence names a certificate."""
    subject = certificate.subject.rfc4514_string()
    shown = subject if len(subject) <= MOST_NAME else f"{subject[:MOST_NAME]}..."
    return (
        f"the certificate {shown!r}"
        if shown
        else f"the certificate without a subject, serial {certificate.serial_number:x}"
    )


def check_signature(certificate: x509.Certificate) -> None:
    """Raise IssuerRefused for a signature that peers do not believe; that of a root is looked at by nobody."""
    found = certificate.signature_hash_algorithm
    if isinstance(found, WEAK_HASHES):
        raise IssuerRefused(
            "weak_signature",
            f"{name_of(certificate)} is signed with {found.name.upper()}, which peers refuse: have it issued with"
            " SHA-256 or better",
        )


def check_key(key: object, whose: str) -> None:
    """Raise IssuerRefused for a public key that is too short, or of a kind that some peer does not verify with."""
    match key:
        case rsa.RSAPublicKey() if key.key_size < LEAST_RSA_BITS:
            raise IssuerRefused("weak_key", f"{whose} is RSA with {key.key_size} bits: {_USE}")
        case ec.EllipticCurvePublicKey() if key.curve.key_size < LEAST_EC_BITS:
            raise IssuerRefused(
                "weak_key", f"{whose} is on {key.curve.name}, a curve of {key.curve.key_size} bits: {_USE}"
            )
        case rsa.RSAPublicKey() if key.key_size > MOST_RSA_BITS:
            raise IssuerRefused("key_kind", f"{whose} is RSA with {key.key_size} bits, at most {MOST_RSA_BITS}: {_USE}")
        case rsa.RSAPublicKey() | ed25519.Ed25519PublicKey():
            return
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, CURVES):
            return
        case _:
            kind = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__.strip("_")
            raise IssuerRefused("key_kind", f"{whose} is of a kind that not every peer verifies with ({kind}): {_USE}")


def _check_constraints(certificate: x509.Certificate, below: int) -> None:
    """RFC 5280 4.2.1.9; that the extension is critical is asked by OpenSSL's strict profile."""
    found = extension_of(certificate, x509.BasicConstraints)
    if found is None or not found.value.ca:
        raise IssuerRefused(
            "not_a_ca",
            f"{name_of(certificate)} is no CA (basicConstraints CA:TRUE): cert-manager's Certificate needs isCA: true",
        )
    if not found.critical:
        raise IssuerRefused(
            "constraints_not_critical",
            f"the basicConstraints of {name_of(certificate)} are not critical, so peers refuse it:"
            " issue it with basicConstraints=critical,CA:TRUE",
        )
    longest = found.value.path_length
    if longest is not None and longest < below:
        raise IssuerRefused(
            "path_length",
            f"{name_of(certificate)} allows {longest} authorities below it (pathLen), and {below} are there:"
            " issue it with a longer path length, or sign with an authority nearer to it",
        )


def _check_key_usage(certificate: x509.Certificate) -> None:
    found = extension_of(certificate, x509.KeyUsage)
    if found is None or not found.value.key_cert_sign:
        raise IssuerRefused(
            "no_cert_sign",
            f"the key of {name_of(certificate)} may not sign certificates: its keyUsage must have keyCertSign"
            ' (cert-manager: usages: ["cert sign"])',
        )


def _check_roles(certificate: x509.Certificate) -> None:
    """OpenSSL and Go read the extendedKeyUsage of an authority as a limit on what is below it."""
    found = extension_of(certificate, x509.ExtendedKeyUsage)
    missing = [name for role, name in _ROLES if found is not None and role not in found.value]
    if missing:
        raise IssuerRefused(
            "extended_key_usage",
            f"the extendedKeyUsage of {name_of(certificate)} lacks {' and '.join(missing)}, and so limits every leaf"
            " below it: leave the extension out, or name clientAuth and serverAuth",
        )


def _check_critical(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if extension.critical and isinstance(extension.value, x509.UnrecognizedExtension):
            raise IssuerRefused(
                "critical_extension",
                f"{name_of(certificate)} has the critical extension {extension.oid.dotted_string}, which peers do not"
                " know and must refuse (RFC 5280 4.2): issue it without, or not critical",
            )


def _check_key_identifiers(certificate: x509.Certificate, *, anchor: bool) -> None:
    """OpenSSL's strict profile wants both; a root need not name itself as its issuer."""
    missing = None
    if extension_of(certificate, x509.SubjectKeyIdentifier) is None:
        missing = ExtensionOID.SUBJECT_KEY_IDENTIFIER
    elif not anchor:
        authority = extension_of(certificate, x509.AuthorityKeyIdentifier)
        if authority is None or authority.value.key_identifier is None:
            missing = ExtensionOID.AUTHORITY_KEY_IDENTIFIER
    if missing is not None:
        raise IssuerRefused(
            "no_key_identifier",
            f"{name_of(certificate)} has no {missing._name}, which peers ask for (RFC 5280 4.2.1):"  # noqa: SLF001
            " issue it with subjectKeyIdentifier=hash and authorityKeyIdentifier=keyid",
        )


def _check_time(certificate: x509.Certificate, now: datetime) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= end:
        raise IssuerRefused("expired", f"{name_of(certificate)} expired at {format_time(end)}: have it renewed")
    if now < start:
        raise IssuerRefused(
            "not_yet_valid",
            f"{name_of(certificate)} is valid from {format_time(start)} on: it is looked at again, or the clocks"
            " differ",
        )
