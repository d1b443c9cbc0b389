"""Certificates with something wrong in them, each otherwise as the operator would issue it.

Extensions are given by class: None leaves one out, a value or a pair of value and `critical` replaces it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from support.pki import BOTH_ROLES, usage

TRUST_DOMAIN: Final = "test.example"
CART: Final = f"spiffe://{TRUST_DOMAIN}/ns/shop/sa/cart"
POD_UID: Final = "22222222-0000-0000-0000-000000000000"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Extensions = Mapping[type[x509.ExtensionType], Any]
_numbers = count(1)


@dataclass(frozen=True)
class Presented:
    """What somebody shows in a handshake."""

    chain: tuple[x509.Certificate, ...]
    key: Key
    root: x509.Certificate

    def changed(self, change: int = -1) -> "Presented":
        """The leaf with one byte of its signature changed."""
        der = bytearray(self.chain[0].public_bytes(Encoding.DER))
        der[change] ^= 1
        return replace(self, chain=(x509.load_der_x509_certificate(bytes(der)), *self.chain[1:]))

    @property
    def pem(self) -> bytes:
        return b"".join(each.public_bytes(Encoding.PEM) for each in self.chain)


@dataclass(frozen=True)
class Signer:
    """A certificate that signs, good or not, and its chain up to the root."""

    certificate: x509.Certificate
    key: Key
    between: tuple[x509.Certificate, ...]
    """What is sent after a leaf of it."""
    top: x509.Certificate

    @classmethod
    def root(cls, change: Extensions | None = None, **how: Any) -> "Signer":
        certificate, key = _ca(None, change or {}, **how)
        return cls(certificate, key, (), certificate)

    def intermediate(self, change: Extensions | None = None, **how: Any) -> "Signer":
        certificate, key = _ca(self, change or {}, **how)
        return Signer(certificate, key, (certificate, *self.between), self.top)

    def leaf(
        self,
        change: Extensions | None = None,
        *,
        uris: Sequence[str] = (CART,),
        key: Key | None = None,
        life: tuple[timedelta, timedelta] = (timedelta(minutes=-4), timedelta(hours=1)),
        subject: Sequence[x509.NameAttribute[Any]] = (),
    ) -> Presented:
        """A leaf that is good but for what is asked; `life` is counted from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        extensions: dict[type[x509.ExtensionType], Any] = {
            x509.BasicConstraints: (x509.BasicConstraints(ca=False, path_length=None), True),
            x509.KeyUsage: (usage(digital_signature=True), True),
            x509.ExtendedKeyUsage: x509.ExtendedKeyUsage(BOTH_ROLES),
            x509.SubjectKeyIdentifier: x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            x509.AuthorityKeyIdentifier: _authority_key(self.certificate),
            x509.SubjectAlternativeName: x509.SubjectAlternativeName([*map(x509.UniformResourceIdentifier, uris)])
            if uris
            else None,
        }
        names = [
            x509.NameAttribute(NameOID.COMMON_NAME, "cart-0"),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, POD_UID),
            *subject,
        ]
        made = _signed(self, x509.Name(names), key, extensions | dict(change or {}), life)
        return Presented((made, *self.between), key, self.top)


def version_1(presented: Presented, signer: Signer) -> Presented:
    """The leaf as a certificate of X.509's first version, which has no extensions (RFC 5280 4.1, 4.1.2.1)."""
    _version, *kept, _extensions = _parts(_content(presented.chain[0].tbs_certificate_bytes))
    return _signed_anew(presented, signer, kept, hashes.SHA256())


def with_sha_1(presented: Presented, signer: Signer) -> Presented:
    """The leaf signed with a digest that no library signs certificates with any more (RFC 3279 2.2.3)."""
    version, serial, _algorithm, *others = _parts(_content(presented.chain[0].tbs_certificate_bytes))
    algorithm = bytes.fromhex("300906072a8648ce3d0401")
    return _signed_anew(presented, signer, [version, serial, algorithm, *others], hashes.SHA1())  # noqa: S303


def _signed_anew(
    presented: Presented, signer: Signer, parts: Sequence[bytes], digest: hashes.HashAlgorithm
) -> Presented:
    """A leaf of the parts of a TBSCertificate (RFC 5280 4.1), its algorithm among them."""
    body = _tlv(0x30, b"".join(parts))
    algorithm = parts[2 if parts[0][0] == 0xA0 else 1]
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    der = _tlv(0x30, body + algorithm + _tlv(0x03, b"\0" + signer.key.sign(body, ec.ECDSA(digest))))
    return replace(presented, chain=(x509.load_der_x509_certificate(der), *presented.chain[1:]))


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    octets = (size.bit_length() + 7) // 8
    length = bytes([size]) if size < 128 else bytes([0x80 | octets]) + size.to_bytes(octets)
    return bytes([tag]) + length + content


def _sizes(der: bytes) -> tuple[int, int]:
    """Of the first value's header, and of its content."""
    if der[1] < 128:
        return 2, der[1]
    octets = der[1] & 0x7F
    return 2 + octets, int.from_bytes(der[2 : 2 + octets])


def _content(der: bytes) -> bytes:
    return der[_sizes(der)[0] :]


def _parts(content: bytes) -> list[bytes]:
    found = []
    while content:
        end = sum(_sizes(content))
        found.append(content[:end])
        content = content[end:]
    return found


def _ca(
    issuer: Signer | None, change: Extensions, *, key: Key | None = None, ttl: timedelta = timedelta(days=1)
) -> tuple[x509.Certificate, Key]:
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {next(_numbers)}")])
    extensions: dict[type[x509.ExtensionType], Any] = {
        x509.BasicConstraints: (x509.BasicConstraints(ca=True, path_length=None), True),
        x509.KeyUsage: (usage(key_cert_sign=True, crl_sign=True), True),
        x509.SubjectKeyIdentifier: x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier: _authority_key(issuer.certificate) if issuer is not None else None,
    }
    return _signed(issuer, name, key, extensions | dict(change), (timedelta(days=-1), ttl)), key


def _signed(
    issuer: Signer | None,
    subject: x509.Name,
    key: Key,
    extensions: Extensions,
    life: tuple[timedelta, timedelta],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + life[0])
        .not_valid_after(now + life[1])
    )
    for value in extensions.values():
        if value is not None:
            extension, critical = value if isinstance(value, tuple) else (value, False)
            builder = builder.add_extension(extension, critical)
    return builder.sign(issuer.key if issuer is not None else key, hashes.SHA256())


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier | None:
    try:
        found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found)
