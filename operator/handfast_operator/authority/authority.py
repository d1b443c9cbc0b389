"""The authorities of one trust domain as an immutable snapshot: one signs, several are trusted. Pure.

Its one rule: a certificate that somebody may still hold a leaf of stays in the bundle, even when its key is lost.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from handfast_operator.authority.root import key_usage
from handfast_operator.authority.schedule import BACKDATE
from handfast_operator.authority.state import IN_BUNDLE, AuthorityState
from handfast_sidecar.errors import HandfastError
from handfast_sidecar.identity.bundle import fingerprint
from handfast_sidecar.identity.leaf import key_identifier_of, serial_of

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
"""What an authority may sign with; the operator's own are ECDSA P-256."""
BOTH_ROLES: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
NAME_PREFIX: Final = "handfast-authority-"
"""Of the Secrets' names; a number follows."""
_NUMBERED: Final = re.compile(re.escape(NAME_PREFIX) + r"([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Signer:
    """What an authority is made of: a root of our own, or a copy of somebody else's key."""

    certificate: x509.Certificate
    key: SigningKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()
    """As `Authority.chain`."""
    root: x509.Certificate | None = None
    """As `Authority.root`."""
    source: str = ""
    """As `Authority.source`."""


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
    """Of the key that signs: a root, or an intermediate that somebody else issued."""
    key: SigningKey = field(repr=False)
    resource_version: str = ""
    """Of its Secret, for compare-and-swap."""
    chain: tuple[x509.Certificate, ...] = ()
    """What is sent after a leaf: the intermediates from the signing one upwards; empty where a root signs."""
    root: x509.Certificate | None = None
    """What stands in the bundle for it; None: its own certificate."""
    since: datetime | None = None
    """When it entered its state; None: not written down."""
    trigger: str = ""
    """The request for a rotation that it answers (`RotationSpec.trigger`), or that is not to be answered again."""
    source: str = ""
    """Fingerprint of the external chain that it is a copy of; empty: the operator made it."""
    forced: bool = False
    """Whether `RotationSpec.force` was obeyed for it already."""

    @property
    def entered(self) -> datetime:
        """When it entered its state, or about when it was made where that is not written down."""
        return self.since or self.certificate.not_valid_before_utc

    @property
    def number(self) -> int:
        """In the order of their making; 0 for a Secret under a name of somebody's own."""
        return number_of(self.name)

    @cached_property
    def ends(self) -> datetime:
        """After this nothing that it signed is worth anything."""
        return min(each.not_valid_after_utc for each in (self.certificate, *self.chain, self.anchor))

    @property
    def credible_from(self) -> datetime:
        """When pods whose clocks are a little behind believe its certificates; our own are backdated by as much."""
        return max(each.not_valid_before_utc for each in (self.certificate, *self.chain, self.anchor)) + BACKDATE

    @cached_property
    def key_id(self) -> str:
        """Its key identifier as sidecars report it: hexadecimal."""
        return key_identifier_of(self.certificate)

    @property
    def anchor(self) -> x509.Certificate:
        """What peers must trust to accept its leaves."""
        return self.root or self.certificate

    @property
    def serial(self) -> str:
        """The certificate's serial number: names this authority for ever, which the Secret's name does not."""
        return serial_of(self.certificate)

    @cached_property
    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """As leaves of this authority carry it."""
        key_id = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)

    @cached_property
    def leaves(self) -> x509.CertificateBuilder:
        """What all leaves of this authority say alike: made once, as there are thousands of them in a minute."""
        return (
            x509.CertificateBuilder()
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(BOTH_ROLES, critical=False)
            .add_extension(self.key_identifier, critical=False)
        )

    def signs(self, now: datetime) -> bool:
        """Whether leaves may be asked of it."""
        return self.state is AuthorityState.ACTIVE and now < self.ends


@dataclass(frozen=True)
class AuthoritySet:
    """All that is known of a trust domain's authorities at one time."""

    trust_domain: str
    authorities: tuple[Authority, ...]
    remembered: tuple[x509.Certificate, ...] = ()
    """Certificates whose key is lost: leaves of them may still be in use."""

    @property
    def active(self) -> Authority:
        """The one that signs, of several the one that came last to it. Raises NoAuthority."""
        active = [each for each in self.authorities if each.state is AuthorityState.ACTIVE]
        if not active:
            raise NoAuthority(f"no authority of {self.trust_domain} is Active: restart the controller")
        return max(active, key=lambda each: (each.entered, each.number))

    @property
    def newest(self) -> Authority | None:
        """The one that was made last."""
        return max(self.authorities, key=lambda each: (each.number, each.entered), default=None)

    def having(self, changed: Authority) -> "AuthoritySet":
        """The same with this one as it is now, or added."""
        others = tuple(each for each in self.authorities if each.name != changed.name)
        return replace(self, authorities=(*others, changed))

    def without(self, gone: Authority) -> "AuthoritySet":
        """The same without this one."""
        return replace(self, authorities=tuple(each for each in self.authorities if each.name != gone.name))

    @cached_property
    def bundle(self) -> tuple[x509.Certificate, ...]:
        """Whom sidecars are told to trust, in a stable order."""
        certificates = [each.anchor for each in self.authorities if each.state in IN_BUNDLE]
        # Serial numbers are not unique among other people's roots.
        found = {each.public_bytes(Encoding.DER): each for each in (*certificates, *self.remembered)}
        return tuple(found[der] for der in sorted(found))

    @cached_property
    def bundle_pem(self) -> bytes:
        """The bundle as it is written."""
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.bundle)

    @cached_property
    def fingerprint(self) -> str:
        """As sidecars report it."""
        return fingerprint(self.bundle)

    @cached_property
    def draining(self) -> Mapping[str, datetime]:
        """Since when those drain whose leaves are to be replaced by ones that peers will go on to accept, by serial.

        Where it is not written down it was when the one that signs now was made: a restart finds the same time.
        """
        found = [each for each in self.authorities if each.state is AuthorityState.DRAINING]
        if not found or not any(each.state is AuthorityState.ACTIVE for each in self.authorities):
            return {}
        return {each.serial: each.since or self.active.certificate.not_valid_before_utc for each in found}

    @cached_property
    def issuers(self) -> frozenset[str]:
        """Serials of those whose leaves peers accept: a leaf of any other issuer is worth nothing."""
        signed = (each.certificate for each in self.authorities if each.state in IN_BUNDLE)
        return frozenset(serial_of(certificate) for certificate in (*self.bundle, *signed))


def number_of(name: str) -> int:
    """Of a Secret's name; 0 when it has none."""
    found = _NUMBERED.fullmatch(name)
    return int(found[1]) if found is not None else 0
