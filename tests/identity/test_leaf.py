"""Every rule of the X509-SVID specification that OpenSSL does not check, each with a certificate that breaks it."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.errors import BadCertificate
from handfast_sidecar.identity.leaf import read_peer, read_svid, serial_of
from support.pki import TestAuthority, usage

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
AUTHORITY = TestAuthority("test.example")
GOOD_DER = AUTHORITY.issue().certificate.public_bytes(Encoding.DER)


def test_a_good_leaf_becomes_its_facts() -> None:
    issued = AUTHORITY.issue("spiffe://test.example/ns/shop/sa/cart", pod_uid="uid-1", pod_name="cart-0")
    leaf = read_svid(issued.certificate)
    assert str(leaf.spiffe_id) == "spiffe://test.example/ns/shop/sa/cart"
    assert (leaf.pod_uid, leaf.pod_name) == ("uid-1", "cart-0")
    assert leaf.serial == serial_of(issued.certificate) == f"{issued.certificate.serial_number:x}"
    assert leaf.not_before < leaf.not_after
    assert leaf.not_after.tzinfo is not None


@pytest.mark.parametrize(
    ("reason", "deviation"),
    [
        ("ca_as_leaf", {"ca": True}),
        ("key_usage_cert_sign", {"key_usage": usage(digital_signature=True, key_cert_sign=True)}),
        ("key_usage_crl_sign", {"key_usage": usage(digital_signature=True, crl_sign=True)}),
        ("no_digital_signature", {"key_usage": usage()}),
        ("no_key_usage", {"without_key_usage": True}),
        ("key_usage_not_critical", {"key_usage_critical": False}),
        ("no_extended_key_usage", {"roles": None}),
        ("no_client_auth", {"roles": [SERVER]}),
        ("no_server_auth", {"roles": [CLIENT]}),
        ("no_uri_san", {"uris": []}),
        ("no_uri_san", {"uris": [], "names": [x509.DNSName("cart.shop.svc")]}),
        ("many_uri_sans", {"uris": ["spiffe://test.example/a", "spiffe://test.example/b"]}),
        ("many_uri_sans", {"uris": ["spiffe://test.example/a", "https://test.example/"]}),
        ("bad_spiffe_id", {"uris": ["https://test.example/ns/shop/sa/cart"]}),
        ("bad_spiffe_id", {"uris": ["spiffe://Test.Example/ns/shop/sa/cart"]}),
        ("bad_spiffe_id", {"uris": ["spiffe://test.example"]}),
        ("bad_spiffe_id", {"uris": ["spiffe://test.example/"]}),
        ("bad_spiffe_id", {"uris": ["spiffe://test.example/ns/../sa/cart"]}),
        ("bad_spiffe_id", {"uris": ["spiffe://test.example:443/ns/shop/sa/cart"]}),
        ("bad_spiffe_id", {"uris": ["spiffe://user@test.example/ns/shop/sa/cart"]}),
        ("bad_spiffe_id", {"uris": ["spiffe://test.example/ns/shop/sa/cart?x=1"]}),
        ("bad_spiffe_id", {"uris": ["spiffe://test.example/ns/%73hop/sa/cart"]}),
        ("bad_spiffe_id", {"uris": ["spiffe://test.example/" + "a" * 2048]}),
    ],
)
def test_a_leaf_that_breaks_a_rule_is_refused_with_the_rules_own_reason(reason: str, deviation: Any) -> None:
    with pytest.raises(BadCertificate) as refused:
        read_svid(AUTHORITY.issue(**deviation).certificate)
    assert refused.value.reason == reason
    assert len(str(refused.value)) > 30, "the reader must learn what to do"


def test_a_leaf_may_have_other_names_beside_its_one_uri() -> None:
    issued = AUTHORITY.issue(names=[x509.DNSName("cart.shop.svc")])
    assert read_svid(issued.certificate).spiffe_id.trust_domain == "test.example"


def test_a_leaf_without_basic_constraints_is_no_ca() -> None:
    assert read_svid(AUTHORITY.issue(ca=None).certificate).pod_name == "pod-0"


def test_a_leaf_without_a_pod_uid_is_a_foreign_svid() -> None:
    assert read_svid(AUTHORITY.issue(pod_uid=None).certificate).pod_uid == ""


@pytest.mark.filterwarnings("ignore::UserWarning")  # of the parser, about odd names and serial numbers
@given(st.data())
def test_a_damaged_certificate_is_read_or_refused_but_never_anything_else(data: st.DataObject) -> None:
    der = bytearray(GOOD_DER)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        certificate = x509.load_der_x509_certificate(bytes(der))
    except (ValueError, x509.InvalidVersion):
        return
    try:
        assert read_svid(certificate).spiffe_id.path != "/"
    except BadCertificate:
        return


def test_a_root_is_refused_as_a_leaf() -> None:
    with pytest.raises(BadCertificate) as refused:
        read_svid(AUTHORITY.root)
    assert refused.value.reason == "ca_as_leaf"


def test_a_peer_of_another_trust_domain_is_refused_by_name() -> None:
    issued = AUTHORITY.issue("spiffe://other.example/ns/shop/sa/cart")
    with pytest.raises(BadCertificate, match=r'"other\.example", expected "test\.example"') as refused:
        read_peer(issued.certificate, "test.example")
    assert refused.value.reason == "wrong_trust_domain"
