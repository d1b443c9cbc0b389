"""The cluster's own certificates: one authority, and a leaf for each of its parts."""

import datetime as dt
import ipaddress
from base64 import b64encode
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.kube.manifests import Manifest

LIFE = dt.timedelta(days=30)
"""Longer than any cluster is kept: nothing here renews them."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes


def private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    """PKCS#8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def service_account_key() -> bytes:
    """Signs the tokens of service accounts; RSA, which every consumer of such tokens can verify."""
    return private_pem(rsa.generate_private_key(65537, 2048))


class Authority:
    """Signs everything in the cluster that needs a certificate."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "handfast test cluster")])
        signed = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.credential = Credential(signed.public_bytes(serialization.Encoding.PEM), private_pem(self._key))

    def issue(self, name: str, *, group: str | None = None, hosts: tuple[str, ...] = ()) -> Credential:
        """A leaf for both directions; `name` and `group` are the user and group that the API server sees."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if group:
            attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        builder = (
            self._builder(x509.Name(attributes), key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        signed = builder.sign(self._key, hashes.SHA256())
        return Credential(signed.public_bytes(serialization.Encoding.PEM), private_pem(key))

    def kubeconfig(self, server: str, user: Credential) -> Manifest:
        """All in one document, so that it works wherever the file is."""

        def text(pem: bytes) -> str:
            return b64encode(pem).decode()

        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "handfast",
            "clusters": [
                {
                    "name": "handfast",
                    "cluster": {"server": server, "certificate-authority-data": text(self.credential.certificate)},
                }
            ],
            "users": [
                {
                    "name": "handfast",
                    "user": {"client-certificate-data": text(user.certificate), "client-key-data": text(user.key)},
                }
            ],
            "contexts": [{"name": "handfast", "context": {"cluster": "handfast", "user": "handfast"}}],
        }

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + LIFE)
        )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
