"""The four files of a pod's Secret, read as one version and checked against each other.

kubelet projects a Secret as a directory behind the link `..data` and swaps the link, so that all files change at once.
The one rule: the link is resolved once per reading and every file comes from where it pointed, so that a certificate is
never paired with the key of another version.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import crypto

from handfast_sidecar.config.document import SidecarConfig
from handfast_sidecar.errors import BadCertificate, BadConfig
from handfast_sidecar.identity.bundle import Bundle, anchor, parse_bundle
from handfast_sidecar.identity.leaf import Leaf, read_peer
from handfast_sidecar.identity.proof import Proof
from handfast_sidecar.wellknown import FILE_BUNDLE, FILE_CERTIFICATE, FILE_CONFIG, FILE_KEY

DATA_LINK: Final = "..data"
MAX_CHAIN: Final = 4
"""Certificates that a side may present: its leaf and three intermediates."""
MAX_FILE: Final = 1 << 20
"""Bytes: a Secret holds no more."""
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which pyOpenSSL has no name for."""
_SWAPS: Final = 3
"""Readings before a directory that changes under our hands is given up until the next poll."""

Key = EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Material:
    """One version of a pod's Secret, checked."""

    chain: tuple[x509.Certificate, ...]
    """Leaf first, as it is presented to peers."""
    key: Key = field(repr=False)
    bundle: Bundle
    config: SidecarConfig
    leaf: Leaf
    fingerprint: str
    """Of the bundle: see `bundle.fingerprint`."""
    root: str
    """The trust anchor that vouches for the leaf: see `bundle.anchor`."""
    anchors: frozenset[str]
    """Of the whole bundle."""

    @property
    def proof(self) -> Proof:
        """What peers are shown."""
        return Proof(self.leaf, self.root)

    @property
    def expires_at(self) -> datetime:
        """When the first certificate of the chain expires: peers refuse us from then on."""
        return min(certificate.not_valid_after_utc for certificate in self.chain)

    def check_pod(self, uid: str) -> None:
        """Raise BadCertificate when the leaf is another pod's; an empty UID is not known."""
        if uid and self.leaf.pod_uid != uid:
            raise BadCertificate(
                "wrong_identity",
                f"the leaf is that of {self.leaf.spiffe_id}, of the pod with the UID {self.leaf.pod_uid or 'none'}, and"
                f" this pod's is {uid}: who wrote it into this pod's Secret?",
            )

    @property
    def valid_from(self) -> datetime:
        """When the last certificate of the chain begins: whose clock is before it refuses us."""
        return max(certificate.not_valid_before_utc for certificate in self.chain)

    def expired(self, now: datetime) -> bool:
        """Whether peers refuse this material. It is still loaded: an expired leaf can be seen, a missing one cannot."""
        return now >= self.expires_at

    def same_identity(self, other: "Material") -> bool:
        """Whether both present the same leaf and trust the same roots, so that only config.json may differ."""
        return self.chain == other.chain and self.fingerprint == other.fingerprint


def data_directory(directory: Path) -> Path:
    """Where the files are now: the target of `..data`, or the directory itself where no kubelet projected it."""
    link = directory / DATA_LINK
    return directory / link.readlink() if link.is_symlink() else directory


def read_material(directory: Path) -> Material:
    """Read and check a Secret's directory; raises BadCertificate or BadConfig. Expiry is reported, not refused."""
    for _ in range(_SWAPS):
        where = data_directory(directory)
        try:
            names = (FILE_CERTIFICATE, FILE_KEY, FILE_BUNDLE, FILE_CONFIG)
            certificate, key, bundle, config = (_read(where / name) for name in names)
        except FileNotFoundError as error:
            if data_directory(directory) != where:
                continue
            raise BadCertificate(
                "missing_file", f"{error.filename} does not exist: is the Secret of this pod mounted and complete?"
            ) from error
        except OSError as error:
            raise BadCertificate("unreadable_file", f"{error.filename} cannot be read: {error.strerror}") from error
        return parse_material(certificate, key, bundle, config)
    raise BadCertificate("changing", f"{directory} changed {_SWAPS} times while it was read: it is read again later")


def parse_material(certificate: bytes, key: bytes, bundle: bytes, config: bytes) -> Material:
    """The checked content of the four files; raises BadCertificate or BadConfig."""
    settings = SidecarConfig.parse(config)
    chain = _parse_chain(certificate)
    private = _parse_key(key)
    if private.public_key() != chain[0].public_key():
        raise BadCertificate("key_mismatch", f"{FILE_KEY} is not the key of the leaf in {FILE_CERTIFICATE}")
    leaf = read_peer(chain[0], settings.trust_domain)
    trusted = Bundle(settings.trust_domain, parse_bundle(bundle))
    root = anchor(_verify(chain, trusted))
    return Material(chain, private, trusted, settings, leaf, trusted.fingerprint, root, trusted.anchors)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_FILE + 1)
    if len(content) <= MAX_FILE:
        return content
    raise (BadConfig if path.name == FILE_CONFIG else _too_large)(f"{path} has more than {MAX_FILE} bytes")


def _too_large(message: str) -> BadCertificate:
    return BadCertificate("too_large", message)


def _parse_chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    try:
        chain = tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, x509.InvalidVersion) as error:
        raise BadCertificate("malformed", f"{FILE_CERTIFICATE} is no list of PEM certificates: {error}") from error
    if len(chain) > MAX_CHAIN:
        raise BadCertificate(
            "chain_too_long", f"{FILE_CERTIFICATE} holds {len(chain)} certificates, peers accept at most {MAX_CHAIN}"
        )
    return chain


def _parse_key(pem: bytes) -> Key:
    """The error of the parser is not passed on: it must never be able to quote the key."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadCertificate("bad_key", f"{FILE_KEY} is no unencrypted PEM private key") from None
    if not isinstance(key, Key):
        raise BadCertificate("bad_key", f"{FILE_KEY} is of a kind that TLS 1.3 does not sign with: use ECDSA P-256")
    return key


def _verify(chain: tuple[x509.Certificate, ...], bundle: Bundle) -> x509.Certificate:
    """The root in the bundle that the chain leads to, whatever the time is."""
    store = crypto.X509Store()
    for certificate in bundle.certificates:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    store.set_flags(crypto.X509StoreFlags.X509_STRICT | _NO_CHECK_TIME)
    leaf, *others = (crypto.X509.from_cryptography(certificate) for certificate in chain)
    try:
        return crypto.X509StoreContext(store, leaf, others).get_verified_chain()[-1].to_cryptography()
    except crypto.X509StoreContextError as error:
        raise BadCertificate(
            "untrusted", f"the chain in {FILE_CERTIFICATE} does not lead to a root in {FILE_BUNDLE}: {error}"
        ) from error
