"""A throw-away certificate authority: real certificates for every test, and every way in which one can be wrong."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from handfast_sidecar.config.document import DirectoryAddress, SidecarConfig
from handfast_sidecar.identity.material import DATA_LINK, Material, parse_material
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.wellknown import FILE_BUNDLE, FILE_CERTIFICATE, FILE_CONFIG, FILE_KEY

BOTH_ROLES: Final = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
BACKDATE: Final = timedelta(minutes=4)
_versions = count(1)


def plain_config(trust_domain: str = "test.example", **changes: object) -> SidecarConfig:
    """A configuration that says nothing unusual."""
    config = SidecarConfig(
        revision=1,
        trust_domain=trust_domain,
        policy=EffectivePolicy(),
        directory=DirectoryAddress(
            "127.0.0.1", 14010, SpiffeId.of_service_account(trust_domain, "handfast-system", "handfast-directory")
        ),
        cluster_ranges=(ip_network("10.0.0.0/8"),),
    )
    return replace(config, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Issued:
    """A leaf with its key, and the bundle that its issuer is verified with."""

    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey
    bundle: bytes

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def chain_pem(self) -> bytes:
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)

    def material(self, config: SidecarConfig) -> Material:
        """As the sidecar reads it."""
        return parse_material(self.chain_pem, self.key_pem, self.bundle, config.dump().encode())

    def write(self, directory: Path, config: SidecarConfig) -> None:
        """Write a Secret's directory as kubelet does: a new version beside the old one, then one swap of `..data`."""
        files = {
            FILE_CERTIFICATE: self.chain_pem,
            FILE_KEY: self.key_pem,
            FILE_BUNDLE: self.bundle,
            FILE_CONFIG: config.dump().encode(),
        }
        project(directory, files)


def project(directory: Path, files: dict[str, bytes]) -> None:
    """Any files, with kubelet's swap (k8s.io/kubernetes/pkg/volume/util/atomic_writer.go)."""
    directory.mkdir(parents=True, exist_ok=True)
    version = directory / f"..version-{next(_versions)}"
    version.mkdir()
    for name, content in files.items():
        (version / name).write_bytes(content)
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(Path(DATA_LINK) / name)
    link = directory / DATA_LINK
    old = link.readlink() if link.is_symlink() else None
    fresh = directory / "..data_tmp"
    fresh.symlink_to(version.name)
    fresh.replace(link)
    if old is not None:
        for file in (directory / old).iterdir():
            file.unlink()
        (directory / old).rmdir()


class TestAuthority:
    """A root of one trust domain, with as many intermediates as asked for."""

    __test__ = False

    def __init__(
        self, trust_domain: str = "test.example", *, intermediates: int = 0, ttl: timedelta = timedelta(days=1)
    ) -> None:
        self.trust_domain = trust_domain
        self.key = new_key()
        self.root = _sign_ca(f"{trust_domain} root {next(_versions)}", self.key, None, ttl)
        self._issuer, self._issuer_key = self.root, self.key
        self._between: tuple[x509.Certificate, ...] = ()
        for number in range(intermediates):
            key = new_key()
            certificate = _sign_ca(f"{trust_domain} intermediate {number}", key, (self._issuer, self._issuer_key), ttl)
            self._issuer, self._issuer_key = certificate, key
            self._between = (certificate, *self._between)

    @classmethod
    def of(cls, trust_domain: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> "TestAuthority":
        """An authority that exists already: what it would never issue can then be issued in its name."""
        authority = cls(trust_domain)
        authority.root, authority.key = certificate, key
        authority._issuer, authority._issuer_key = certificate, key
        return authority

    @property
    def issuer_key(self) -> ec.EllipticCurvePrivateKey:
        """Of the one that signs leaves: the root's, or the last intermediate's."""
        return self._issuer_key

    def renewed_root(self, now: datetime, ttl: timedelta = timedelta(days=90)) -> x509.Certificate:
        """The root with the same key and name, and another life."""
        extensions = self.root.extensions
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.root.subject)
            .issuer_name(self.root.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + ttl)
        )
        for each in extensions:
            builder = builder.add_extension(each.value, each.critical)
        return builder.sign(self.key, hashes.SHA256())

    @property
    def bundle_pem(self) -> bytes:
        return self.root.public_bytes(Encoding.PEM)

    def issue(
        self,
        spiffe_id: str | SpiffeId | None = None,
        *,
        pod_uid: str | None = "11111111-2222-3333-4444-555555555555",
        pod_name: str = "pod-0",
        ttl: timedelta = timedelta(hours=1),
        not_before: datetime | None = None,
        uris: Sequence[str] | None = None,
        names: Sequence[x509.GeneralName] = (),
        ca: bool | None = False,
        key_usage: x509.KeyUsage | None = None,
        key_usage_critical: bool = True,
        without_key_usage: bool = False,
        roles: Sequence[ObjectIdentifier] | None = BOTH_ROLES,
    ) -> Issued:
        """A leaf; every argument after `ttl` is a way to deviate from what the operator issues.

        `uris` replaces the SPIFFE ID, None for `ca`, `roles` or `pod_uid` leaves the extension or attribute out.
        """
        key = new_key()
        start = not_before or datetime.now(UTC) - BACKDATE
        if uris is None:
            uris = [str(spiffe_id or f"spiffe://{self.trust_domain}/ns/default/sa/default")]
        alternatives = [*map(x509.UniformResourceIdentifier, uris), *names]
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, pod_name[:64])]
        if pod_uid is not None:
            subject.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, pod_uid))
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(self._issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after((start if not_before else datetime.now(UTC)) + ttl)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_authority_key(self._issuer), critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if not without_key_usage:
            builder = builder.add_extension(key_usage or usage(digital_signature=True), critical=key_usage_critical)
        if roles is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(roles)), critical=False)
        certificate = builder.sign(self._issuer_key, hashes.SHA256())
        return Issued((certificate, *self._between), key, self.bundle_pem)


def usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    """The three bits of keyUsage that matter to an SVID."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_files(directory: Path, issued: Issued) -> tuple[Path, Path, Path]:
    """Certificate, key and bundle as plain files: what a server of the operator is started with."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = (directory / FILE_CERTIFICATE, directory / FILE_KEY, directory / FILE_BUNDLE)
    for path, content in zip(paths, (issued.chain_pem, issued.key_pem, issued.bundle), strict=True):
        path.write_bytes(content)
        os.utime(path)
    return paths


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    key_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)


def _sign_ca(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    ttl: timedelta,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + ttl)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        builder = builder.add_extension(_authority_key(issuer[0]), critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256())
