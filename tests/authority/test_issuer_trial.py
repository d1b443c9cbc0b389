"""Leaves of other people's authorities in real handshakes: what is refused, before it is used."""

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import event, given, settings
from hypothesis import strategies as st

from handfast_operator.authority.external import ExternalIssuer, read_issuer
from handfast_operator.authority.issuer_certificate import IssuerRefused
from handfast_operator.authority.issuer_trial import try_issuer
from support.issuers import DAY, SIGNS, Ca, chain_of, make_ca
from support.pki import usage

WHERE = "handfast-system/handfast-issuer"
KEYS = [
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ec.generate_private_key(ec.SECP521R1()),
    ec.generate_private_key(ec.SECP224R1()),
    ec.generate_private_key(ec.BrainpoolP256R1()),
    ed25519.Ed25519PrivateKey.generate(),
    rsa.generate_private_key(65537, 2048),
]
URI, DNS = x509.UniformResourceIdentifier, x509.DNSName
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def attempt(ca: Ca) -> None:
    """Without the checks that come before: what is refused here, a TLS library refused."""
    chain = tuple(each.certificate for each in ca.path)
    issuer = ExternalIssuer(ca.certificate, chain[:-1], chain[-1], ca.key)
    try_issuer(issuer, WHERE, "test.example", "handfast-system")


def refusal(ca: Ca) -> IssuerRefused:
    with pytest.raises(IssuerRefused) as refused:
        attempt(ca)
    assert WHERE in str(refused.value)
    return refused.value


def below_root(**words: Any) -> Ca:
    return make_ca(make_ca(), **words)


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_leaves_of_a_chain_are_taken_up_to_the_length_that_peers_read(length: int) -> None:
    attempt(chain_of(length))


def test_a_longer_chain_is_refused_by_a_sidecar() -> None:
    assert "peers accept at most 4" in str(refusal(chain_of(5)))


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 2048),
        rsa.generate_private_key(65537, 4096),
    ],
    ids=["P-384", "P-521", "RSA 2048", "RSA 4096"],
)
def test_leaves_of_every_kind_of_key_that_signs_are_taken(key: Any) -> None:
    attempt(chain_of(2, key=key))
    attempt(chain_of(1, key=key))


def test_a_root_may_have_a_key_of_another_kind_than_its_intermediate() -> None:
    attempt(make_ca(make_ca(key=ed25519.Ed25519PrivateKey.generate())))
    attempt(make_ca(make_ca(key=rsa.generate_private_key(65537, 3072)), key=ec.generate_private_key(ec.SECP384R1())))


@pytest.mark.parametrize(
    "words",
    [
        {"permitted": [URI("test.example")]},
        {"permitted": [URI(".example")]},  # RFC 5280 4.2.1.10: with a leading period, every host below
        {"excluded": [URI("other.example")]},
        {"permitted": [x509.RFC822Name("example.org")]},
    ],
)
def test_name_constraints_that_permit_the_trust_domain_are_no_hindrance(words: dict[str, Any]) -> None:
    attempt(below_root(**words))
    attempt(make_ca(make_ca(**words)))


@pytest.mark.parametrize(
    "words",
    [
        {"permitted": [URI("other.example")]},
        {"permitted": [URI(".test.example")]},  # hosts below it, and not itself
        {"excluded": [URI("test.example")]},
        {"permitted": [DNS("svc"), DNS("cluster.local")]},  # a pod's common name with a dot is read as a DNS name
        {"permitted": [x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example")]))]},
    ],
)
@pytest.mark.parametrize("where", ["intermediate", "root"])
def test_name_constraints_that_do_not_permit_our_names_are_refused(words: dict[str, Any], where: str) -> None:
    refused = refusal(below_root(**words) if where == "intermediate" else make_ca(make_ca(**words)))
    assert refused.reason == "name_constraints"
    assert "spiffe://test.example/ns/trial/sa/trial" in str(refused)
    assert "URI:test.example" in str(refused)


def test_a_constraint_that_leaves_out_the_webhook_alone_is_refused_too() -> None:
    refused = refusal(below_root(permitted=[DNS("handfast.trial")]))
    assert refused.reason == "name_constraints"
    assert "handfast-webhook.handfast-system.svc" in str(refused)


@pytest.mark.parametrize("where", ["intermediate", "root"])
@pytest.mark.parametrize("roles", [[CLIENT], [SERVER], [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]])
def test_roles_of_an_authority_limit_those_below_it(where: str, roles: list[x509.ObjectIdentifier]) -> None:
    refused = refusal(below_root(roles=roles) if where == "intermediate" else make_ca(make_ca(roles=roles)))
    assert refused.reason == "extended_key_usage"


def test_an_authority_for_both_roles_is_no_hindrance() -> None:
    attempt(below_root(roles=[CLIENT, SERVER]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"constraints_critical": False}, "not marked critical"),
        ({"key_usage": None}, "key usage"),
        ({"authority_key": False}, "Authority Key Identifier"),
        ({"key": rsa.generate_private_key(65537, 1024)}, "too small"),  # noqa: S505 - what is shown here
        ({"start": DAY}, "not valid yet"),
    ],
)
def test_what_the_checks_before_refuse_would_be_refused_by_peers(words: dict[str, Any], said: str) -> None:
    assert said in str(refusal(below_root(**words)))


LEVEL = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from(KEYS),
        "path_length": st.integers(0, 3),
        "constraints_critical": st.booleans(),
        "key_usage": st.sampled_from([None, SIGNS, usage(key_cert_sign=True), usage(digital_signature=True)]),
        "roles": st.sampled_from([[], [CLIENT], [CLIENT, SERVER], [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]]),
        "subject_key": st.booleans(),
        "authority_key": st.booleans(),
        "serial": st.sampled_from([1, 2]),
        "name": st.sampled_from(["one name", "another"]),
    },
)


@settings(max_examples=100, deadline=None)
@given(st.lists(LEVEL, min_size=1, max_size=5))
def test_what_the_checks_let_through_is_taken_by_peers(levels: list[dict[str, Any]]) -> None:
    ours: Ca | None = None
    for words in levels:
        ours = make_ca(ours, **words)
    assert ours is not None
    try:
        issuer = read_issuer(ours.secret(), WHERE, datetime.now(UTC), DAY)
    except IssuerRefused as refused:
        event(refused.reason)
        return
    event(f"{len(issuer.chain)} are sent")
    try_issuer(issuer, WHERE, "test.example", "handfast-system")
