"""The authorities of one trust domain as an immutable snapshot: one signs, several are trusted. Pure.

Its one rule: a certificate that somebody may still hold a leaf of stays in the bundle, even when its key is lost.
"""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from handfast_operator.authority.state import IN_BUNDLE, AuthorityState
from handfast_sidecar.errors import HandfastError
from handfast_sidecar.identity.bundle import fingerprint
from handfast_sidecar.identity.leaf import serial_of


class NoAuthority(HandfastError):
    """Nobody can sign for this trust domain."""


@dataclass(frozen=True)
class Authority:
    """A key that signs leaves, and its certificate."""

    name: str
    """Of its Secret."""
    trust_domain: str
    state: AuthorityState
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    resource_version: str = ""
    """Of its Secret, for compare-and-swap."""

    @property
    def serial(self) -> str:
        """The certificate's serial number: names this authority for ever, which the Secret's name does not."""
        return serial_of(self.certificate)

    @cached_property
    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """As leaves of this authority carry it."""
        key_id = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)

    def signs(self, now: datetime) -> bool:
        """Whether leaves may be asked of it."""
        return self.state is AuthorityState.ACTIVE and now < self.certificate.not_valid_after_utc


@dataclass(frozen=True)
class AuthoritySet:
    """All that is known of a trust domain's authorities at one time."""

    trust_domain: str
    authorities: tuple[Authority, ...]
    remembered: tuple[x509.Certificate, ...] = ()
    """Certificates whose key is lost: leaves of them may still be in use."""

    @property
    def active(self) -> Authority:
        """The one that signs, of several the youngest. Raises NoAuthority."""
        active = [each for each in self.authorities if each.state is AuthorityState.ACTIVE]
        if not active:
            raise NoAuthority(f"no authority of {self.trust_domain} is Active: restart the controller")
        return max(active, key=lambda each: each.certificate.not_valid_before_utc)

    @cached_property
    def bundle(self) -> tuple[x509.Certificate, ...]:
        """Whom sidecars are told to trust, in a stable order."""
        certificates = [each.certificate for each in self.authorities if each.state in IN_BUNDLE]
        by_serial = {serial_of(each): each for each in (*certificates, *self.remembered)}
        return tuple(by_serial[serial] for serial in sorted(by_serial))

    @cached_property
    def bundle_pem(self) -> bytes:
        """The bundle as it is written."""
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.bundle)

    @cached_property
    def fingerprint(self) -> str:
        """As sidecars report it."""
        return fingerprint(self.bundle)

    @cached_property
    def issuers(self) -> frozenset[str]:
        """Serials of the bundle: a leaf of any other issuer is worth nothing."""
        return frozenset(serial_of(certificate) for certificate in self.bundle)
