"""Every way in which a certificate can be wrong (DESIGN 2.3), and the word that it is refused with."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from support.certificates import CART, TRUST_DOMAIN, Presented, Signer, version_1, with_sha_1
from support.pki import usage

HOUR = timedelta(hours=1)
CLIENT_AUTH, SERVER_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
ROOT = Signer.root()
GOOD = ROOT.leaf()


def only_for(role: ObjectIdentifier) -> dict[type[x509.ExtensionType], Any]:
    return {x509.ExtendedKeyUsage: x509.ExtendedKeyUsage([role])}


def constraints(*, permitted: str | None = None, excluded: str | None = None) -> dict[type[x509.ExtensionType], Any]:
    """On host names of URIs (RFC 5280 4.2.1.10), which is where a trust domain stands."""
    inside = [x509.UniformResourceIdentifier(permitted)] if permitted else None
    outside = [x509.UniformResourceIdentifier(excluded)] if excluded else None
    return {x509.NameConstraints: (x509.NameConstraints(inside, outside), True)}


def unknown_extension() -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")


def nested(depth: int, top: Signer = ROOT) -> Signer:
    for _ in range(depth):
        top = top.intermediate()
    return top


def unparsable() -> Presented:
    """An address of five bytes among the names: OpenSSL does not look."""
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(CART)]).public_bytes()
    inner = names[2:] + bytes([0x87, 5, 1, 2, 3, 4, 5])
    odd = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, bytes([0x30, len(inner)]) + inner)
    return ROOT.leaf({x509.SubjectAlternativeName: odd})


@dataclass(frozen=True)
class Row:
    """A certificate, and the word it is refused with."""

    what: str
    reason: str
    make: Callable[[], Presented]
    to_the_directory: str = ""
    """The directory's word where it is another one: of what OpenSSL refuses it knows no more than OpenSSL says."""
    of_the_directory: str = ""
    """Its client's."""


def named(*uris: str) -> Callable[[], Presented]:
    return lambda: ROOT.leaf(uris=uris)


def bits(**which: bool) -> Callable[[], Presented]:
    return lambda: ROOT.leaf({x509.KeyUsage: (usage(digital_signature=True, **which), True)})


def under(change: dict[type[x509.ExtensionType], Any], **how: Any) -> Callable[[], Presented]:
    """A good leaf of an intermediate that is not."""
    return lambda: ROOT.intermediate(change, **how).leaf()


def agreement() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=True,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def by_itself() -> Presented:
    key = ec.generate_private_key(ec.SECP256R1())
    own = ROOT.leaf(key=key)
    itself = Signer(own.chain[0], key, (), ROOT.certificate)
    return itself.leaf(key=key, subject=())


def by_a_leaf() -> Presented:
    stolen = ROOT.leaf(uris=[f"{CART}-2"])
    return Signer(stolen.chain[0], stolen.key, stolen.chain, ROOT.certificate).leaf()


ROWS: Final = (
    # names
    Row("no name", "no_uri_san", named()),
    Row(
        "a DNS name only",
        "no_uri_san",
        lambda: ROOT.leaf({x509.SubjectAlternativeName: x509.SubjectAlternativeName([x509.DNSName("cart.shop.svc")])}),
    ),
    Row("two SPIFFE IDs", "many_uri_sans", named(CART, f"{CART}2")),
    Row("a SPIFFE ID and another URI", "many_uri_sans", named(CART, "https://test.example/")),
    Row("another scheme", "bad_spiffe_id", named(f"https://{TRUST_DOMAIN}/ns/shop/sa/cart")),
    Row("the scheme in capitals", "bad_spiffe_id", named(f"SPIFFE://{TRUST_DOMAIN}/ns/shop/sa/cart")),
    Row("a trust domain with capitals", "bad_spiffe_id", named("spiffe://Test.example/ns/shop/sa/cart")),
    Row("no trust domain", "bad_spiffe_id", named("spiffe:///ns/shop/sa/cart")),
    Row("no path", "bad_spiffe_id", named(f"spiffe://{TRUST_DOMAIN}")),
    Row("the root path", "bad_spiffe_id", named(f"spiffe://{TRUST_DOMAIN}/")),
    Row("an empty segment", "bad_spiffe_id", named(f"spiffe://{TRUST_DOMAIN}/ns//sa/cart")),
    Row("a slash at the end", "bad_spiffe_id", named(f"{CART}/")),
    Row("a segment that is a dot", "bad_spiffe_id", named(f"spiffe://{TRUST_DOMAIN}/ns/./sa/cart")),
    Row("a segment of two dots", "bad_spiffe_id", named(f"spiffe://{TRUST_DOMAIN}/ns/../sa/cart")),
    Row("a query", "bad_spiffe_id", named(f"{CART}?x=1")),
    Row("a fragment", "bad_spiffe_id", named(f"{CART}#x")),
    Row("a port", "bad_spiffe_id", named(f"spiffe://{TRUST_DOMAIN}:443/ns/shop/sa/cart")),
    Row("a user", "bad_spiffe_id", named(f"spiffe://root@{TRUST_DOMAIN}/ns/shop/sa/cart")),
    Row("a percent sign", "bad_spiffe_id", named(f"spiffe://{TRUST_DOMAIN}/ns/shop/sa/c%61rt")),
    Row("over 2048 bytes", "bad_spiffe_id", named(f"spiffe://{TRUST_DOMAIN}/{'a' * 2048}")),
    Row("names that cannot be parsed", "malformed", unparsable),
    Row(
        "two common names",
        "bad_subject",
        lambda: ROOT.leaf(subject=[x509.NameAttribute(NameOID.COMMON_NAME, "another")]),
    ),
    # what its key may do
    Row(
        "a CA as a leaf",
        "ca_as_leaf",
        lambda: ROOT.leaf({x509.BasicConstraints: (x509.BasicConstraints(ca=True, path_length=None), True)}),
    ),
    Row(
        "an authority itself",
        "ca_as_leaf",
        lambda: Presented((ROOT.certificate,), ROOT.key, ROOT.certificate),
        "wrong_purpose",
        "wrong_purpose",
    ),
    Row("keyCertSign", "key_usage_cert_sign", bits(key_cert_sign=True)),
    Row("cRLSign", "key_usage_crl_sign", bits(crl_sign=True)),
    Row("no digitalSignature", "no_digital_signature", lambda: ROOT.leaf({x509.KeyUsage: (agreement(), True)})),
    Row("no keyUsage", "no_key_usage", lambda: ROOT.leaf({x509.KeyUsage: None})),
    Row(
        "keyUsage that is not critical",
        "key_usage_not_critical",
        lambda: ROOT.leaf({x509.KeyUsage: usage(digital_signature=True)}),
    ),
    Row("no extendedKeyUsage", "no_extended_key_usage", lambda: ROOT.leaf({x509.ExtendedKeyUsage: None})),
    Row("no clientAuth", "no_client_auth", lambda: ROOT.leaf(only_for(SERVER_AUTH)), "wrong_purpose"),
    Row("no serverAuth", "no_server_auth", lambda: ROOT.leaf(only_for(CLIENT_AUTH)), "", "wrong_purpose"),
    # who signed it
    Row(
        "another trust domain's name by our root", "wrong_trust_domain", named("spiffe://other.example/ns/shop/sa/cart")
    ),
    Row("our name by an unknown root", "untrusted", lambda: replace(Signer.root().leaf(), root=ROOT.certificate)),
    Row("signed by itself", "untrusted", by_itself),
    Row(
        "an intermediate that is not sent",
        "untrusted",
        lambda: replace(short := nested(1).leaf(), chain=short.chain[:1]),
    ),
    Row("a changed signature", "bad_signature", GOOD.changed),
    Row("four intermediates", "chain_too_long", lambda: nested(4).leaf()),
    Row(
        "an intermediate below a root that allows none",
        "path_length",
        lambda: (
            Signer.root({x509.BasicConstraints: (x509.BasicConstraints(ca=True, path_length=0), True)})
            .intermediate()
            .leaf()
        ),
    ),
    Row("an intermediate for mail", "wrong_purpose", under(only_for(ExtendedKeyUsageOID.EMAIL_PROTECTION))),
    Row("a leaf that signs", "invalid_ca", by_a_leaf),
    Row(
        "an intermediate that may not sign",
        "invalid_ca",
        under({x509.KeyUsage: (usage(digital_signature=True, crl_sign=True), True)}),
    ),
    Row("an intermediate without keyUsage", "invalid_ca", under({x509.KeyUsage: None})),
    Row("a name outside what is permitted", "name_constraints", under(constraints(permitted="other.example"))),
    Row("a name that is excluded", "name_constraints", under(constraints(excluded=TRUST_DOMAIN))),
    Row(
        "a critical extension that nobody knows",
        "critical_extension",
        lambda: ROOT.leaf({x509.UnrecognizedExtension: (unknown_extension(), True)}),
    ),
    Row(
        "no authority key identifier",
        "no_key_identifier",
        lambda: ROOT.leaf({x509.AuthorityKeyIdentifier: None}),
    ),
    Row("an issuer without a key identifier", "no_key_identifier", under({x509.SubjectKeyIdentifier: None})),
    # time, version and strength
    Row("expired", "expired", lambda: ROOT.leaf(life=(-2 * HOUR, -HOUR))),
    Row("not yet valid", "not_yet_valid", lambda: ROOT.leaf(life=(HOUR, 2 * HOUR))),
    Row("an intermediate that has expired", "expired", under({}, ttl=-HOUR)),
    Row("version 1", "not_v3", lambda: version_1(GOOD, ROOT)),
    Row("signed with SHA-1", "weak_signature", lambda: with_sha_1(GOOD, ROOT)),
    Row("an RSA key of 1024 bits", "weak_key", lambda: ROOT.leaf(key=rsa.generate_private_key(65537, 1024))),  # noqa: S505
    Row("an intermediate with P-192", "weak_key", under({}, key=ec.generate_private_key(ec.SECP192R1()))),
)
