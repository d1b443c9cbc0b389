"""An issuer that somebody else renews, from the data of a Secret: what signs, what is sent, what is trusted. Pure.

Its one rule: all or nothing. Either every certificate from the signing one to the root is fit and the key is the
signing one's, or IssuerRefused says which part of which Secret is wrong; its sentence never has anything of the key.

The layouts that are read: cert-manager's Certificate with isCA (tls.crt: signing certificate and intermediates, ca.crt:
root; both the same for a self-signed one), and a person's with the root appended to tls.crt and no ca.crt.
"""

import base64
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.utils import CryptographyDeprecationWarning

from handfast_operator.authority.authority import SigningKey
from handfast_operator.authority.issuer_certificate import (
    CURVES,
    IssuerRefused,
    check_authority,
    check_key,
    name_of,
)
from handfast_operator.authority.issuer_path import find_path
from handfast_sidecar.identity.bundle import fingerprint
from handfast_sidecar.wellknown import FILE_BUNDLE, FILE_CERTIFICATE, FILE_KEY

MOST_SENT: Final = 3
"""Authorities that a pod may send after its leaf: peers read four certificates (`identity.material.MAX_CHAIN`)."""
MOST_READ: Final = 64
"""Certificates in tls.crt and ca.crt together; more is somebody's CA store."""
LEAF_LIVES: Final = 2
"""An authority that ends within so many lives of a leaf has no time left for a rotation."""
_MALFORMED: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography's parser raises: it reads a certificate's parts when they are asked for."""


@dataclass(frozen=True)
class ExternalIssuer:
    """What a Secret gives, checked."""

    certificate: x509.Certificate
    """Signs leaves."""
    chain: tuple[x509.Certificate, ...]
    """Sent after a leaf: the signing certificate and the intermediates above it; empty where a root signs."""
    root: x509.Certificate
    """Stands in the bundle."""
    key: SigningKey = field(repr=False)

    @cached_property
    def source(self) -> str:
        """Names these certificates, whatever the order they stood in: SHA-256, hexadecimal."""
        return fingerprint((self.certificate, *self.chain, self.root))

    @property
    def ends(self) -> datetime:
        """When the first of its certificates ends."""
        return min(each.not_valid_after_utc for each in (self.certificate, *self.chain, self.root))

    @property
    def valid_from(self) -> datetime:
        """When the last of its certificates begins."""
        return max(each.not_valid_before_utc for each in (self.certificate, *self.chain, self.root))


def read_issuer(data: object, where: str, now: datetime, leaf_ttl: timedelta) -> ExternalIssuer:
    """The issuer in a Secret's `data`; `where` names the Secret, `leaf_ttl` is the longest in force.

    Raises IssuerRefused alone, whatever the data is. That peers take its leaves is for `issuer_trial` to show.
    """
    try:
        with warnings.catch_warnings():
            # What it warns of is judged in `issuer_certificate`; where warnings are errors this must not be one.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return _read(data, now, leaf_ttl)
    except IssuerRefused as refused:
        raise IssuerRefused(refused.reason, f"the Secret {where} cannot be the issuer: {refused}") from None
    except _MALFORMED as error:
        raise IssuerRefused(
            "malformed",
            f"the Secret {where} cannot be the issuer: a certificate in it cannot be read ({type(error).__name__}):"
            " have it issued again",
        ) from None


def _read(data: object, now: datetime, leaf_ttl: timedelta) -> ExternalIssuer:
    files = data if isinstance(data, Mapping) else {}
    listed = _certificates(files, FILE_CERTIFICATE)
    if not listed:
        raise IssuerRefused("no_certificate", f"{FILE_CERTIFICATE} holds no PEM certificate: is it issued yet?")
    signing, others = listed[0], (*listed[1:], *_certificates(files, FILE_BUNDLE))
    if len(others) >= MOST_READ:
        raise IssuerRefused(
            "too_many",
            f"it holds {len(others) + 1} certificates, at most {MOST_READ} are read: the chain and its root do",
        )
    key = _key(files)
    check_key(key.public_key(), FILE_KEY)
    if key.public_key() != signing.public_key():
        raise IssuerRefused(
            "wrong_key",
            f"{FILE_KEY} is not the key of {name_of(signing)}, the first in {FILE_CERTIFICATE}: put the signing"
            " certificate first, and its own key beside it",
        )
    path = find_path(signing, others)
    _check_path(path, now, leaf_ttl)
    return ExternalIssuer(signing, path[:-1], path[-1], key)


def _check_path(path: tuple[x509.Certificate, ...], now: datetime, leaf_ttl: timedelta) -> None:
    below = 0
    for certificate in path:
        check_authority(certificate, below=below, anchor=certificate is path[-1], now=now)
        # RFC 5280 4.2.1.9: those that name themselves as their issuer do not count.
        below += certificate.subject != certificate.issuer
    if len(path) - 1 > MOST_SENT:
        raise IssuerRefused(
            "chain_too_long",
            f"there are {len(path) - 1} certificates between a leaf and the root, and peers take {MOST_SENT}:"
            " sign with an authority nearer to the root",
        )
    first = min(path, key=lambda each: each.not_valid_after_utc)
    left = first.not_valid_after_utc - now
    if left <= LEAF_LIVES * leaf_ttl:
        raise IssuerRefused(
            "ends_soon",
            f"{name_of(first)} ends at {first.not_valid_after_utc.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}, within"
            f" {LEAF_LIVES} lives of a leaf ({leaf_ttl} each): have it renewed, earlier the next time (cert-manager:"
            " duration and renewBefore), or shorten certificate.ttl in the policies",
        )


def _certificates(files: Mapping[object, object], name: str) -> tuple[x509.Certificate, ...]:
    pem = _bytes(files, name)
    if b"-----BEGIN" not in pem:
        return ()
    return tuple(dict.fromkeys(x509.load_pem_x509_certificates(pem)))


def _key(files: Mapping[object, object]) -> SigningKey:
    """The parser's own words are kept back: they must never be able to quote a key."""
    pem = _bytes(files, FILE_KEY)
    if not pem:
        raise IssuerRefused("no_key", f"{FILE_KEY} is missing: the key of the signing certificate belongs there")
    try:
        key = load_pem_private_key(pem, password=None)
    except _MALFORMED:
        raise IssuerRefused(
            "bad_key", f"{FILE_KEY} is no PEM private key that is readable without a password: write it as PKCS #8"
        ) from None
    if isinstance(key, rsa.RSAPrivateKey) or (isinstance(key, ec.EllipticCurvePrivateKey) and _signs(key)):
        return key
    raise IssuerRefused(
        "key_kind",
        f"{FILE_KEY} is of a kind that leaves are not signed with here: use ECDSA P-256, P-384 or P-521, or RSA",
    )


def _signs(key: ec.EllipticCurvePrivateKey) -> bool:
    """Short ones are refused as such, a step later."""
    return isinstance(key.curve, CURVES) or key.curve.key_size < CURVES[0].key_size


def _bytes(files: Mapping[object, object], name: str) -> bytes:
    """A file of the Secret, as the API server writes it: base64; empty where it is missing."""
    found = files.get(name)
    return base64.b64decode(found, validate=True) if isinstance(found, str) else b""
