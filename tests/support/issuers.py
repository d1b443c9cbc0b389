"""Authorities as other people make them, good and bad, and the Secrets that they put them into."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from handfast_sidecar.wellknown import FILE_BUNDLE, FILE_CERTIFICATE, FILE_KEY
from support.pki import new_key, usage

_numbers = count(1)
SIGNS: Final = usage(key_cert_sign=True, crl_sign=True)
DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Ca:
    """A certificate above a leaf, its key, and what is above it."""

    certificate: x509.Certificate
    key: Any = field(repr=False)
    above: "Ca | None" = None

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def path(self) -> tuple["Ca", ...]:
        """Itself first, the root last."""
        return (self, *(self.above.path if self.above else ()))

    def secret(self, **changes: bytes | None) -> dict[str, str]:
        """As cert-manager writes it: ca.crt has the root, tls.crt all others, or a root alone in both.

        `changes`: other content by file (`crt`, `key`, `ca`); None leaves it out.
        """
        *others, root = self.path
        sent = b"".join(each.pem for each in others) or root.pem
        files = {"crt": sent, "key": self.key_pem, "ca": root.pem} | changes
        names = {"crt": FILE_CERTIFICATE, "key": FILE_KEY, "ca": FILE_BUNDLE}
        return {
            names[name]: base64.b64encode(content).decode() for name, content in files.items() if content is not None
        }


def make_ca(
    above: Ca | None = None,
    *,
    name: str | None = None,
    key: Any = None,
    signed_by: Any = None,
    ca: bool | None = True,
    constraints_critical: bool = True,
    path_length: int | None = None,
    key_usage: x509.KeyUsage | None = SIGNS,
    roles: Sequence[ObjectIdentifier] = (),
    permitted: Sequence[x509.GeneralName] = (),
    excluded: Sequence[x509.GeneralName] = (),
    subject_key: bool = True,
    authority_key: bool = True,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    start: timedelta = -DAY,
    ttl: timedelta = 365 * DAY,
    now: datetime | None = None,
    serial: int | None = None,
) -> Ca:
    """A root, or with `above` an intermediate; every other argument is one way to be another than usual."""
    now = now or datetime.now(UTC)
    key = key or new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or f"authority {next(_numbers)}")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.certificate.subject if above else subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + ttl)
    )
    wanted: list[tuple[x509.ExtensionType, bool]] = [*extensions]
    if ca is not None:
        wanted.append((x509.BasicConstraints(ca, path_length if ca else None), constraints_critical))
    if key_usage is not None:
        wanted.append((key_usage, True))
    if roles:
        wanted.append((x509.ExtendedKeyUsage(list(roles)), False))
    if permitted or excluded:
        wanted.append((x509.NameConstraints(list(permitted) or None, list(excluded) or None), True))
    if subject_key:
        wanted.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
    issuer_key = (above.key if above else key).public_key()
    if authority_key:
        wanted.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False))
    for extension, critical in wanted:
        builder = builder.add_extension(extension, critical)
    signer = signed_by or (above.key if above else key)
    curve = getattr(signer, "curve", None)
    fitting: Any = {384: hashes.SHA384(), 521: hashes.SHA512()}.get(getattr(curve, "key_size", 0), hashes.SHA256())
    certificate = builder.sign(signer, None if type(signer).__name__.startswith("Ed") else fitting)
    return Ca(certificate, key, above)


def chain_of(length: int, **last: Any) -> Ca:
    """`length` authorities, one below the other; `last` is said of the one that signs leaves."""
    found: Ca | None = None
    for number in range(length):
        found = make_ca(found, **(last if number == length - 1 else {}))
    assert found is not None
    return found
