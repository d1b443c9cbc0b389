"""What is kept of a Secret, whatever somebody put into it."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.leaf import LeafRequest, issue
from handfast_operator.authority.root import make_root
from handfast_operator.authority.state import AuthorityState
from handfast_operator.controller.config import Wanted, digest_of
from handfast_operator.controller.identity_secret import Content, build_secret, held_leaf, identity_of, is_intact
from handfast_sidecar.errors import BadCertificate
from support.objects import pod
from support.pki import Issued, TestAuthority, plain_config

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ORDERS = pod("shop", "orders", uid="uid-1", service_account="orders")
WANTED = Wanted(plain_config("test.example"), digest_of(plain_config("test.example")), DAY)


def authorities() -> AuthoritySet:
    root = make_root("test.example", NOW)
    return AuthoritySet(
        "test.example",
        (Authority("handfast-authority-1", "test.example", AuthorityState.ACTIVE, root.certificate, root.key),),
    )


TRUSTED = authorities()


def content(trusted: AuthoritySet = TRUSTED, **changes: Any) -> Content:
    named = replace(ORDERS, **changes)
    request = LeafRequest(identity_of("test.example", named), named.name, named.uid, DAY)
    return Content(ORDERS, issue(trusted.active, request, NOW), trusted, WANTED)


def test_what_was_written_is_read_back_exactly() -> None:
    written = content()
    raw = build_secret(written)
    assert held_leaf(raw, ORDERS, TRUSTED, WANTED, NOW) == written.leaf
    assert is_intact(raw, written)
    assert raw["type"] == "kubernetes.io/tls"
    assert set(raw["data"]) == {"tls.crt", "tls.key", "ca.crt", "config.json"}


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (content(uid="uid-2"), "wrong_identity"),
        (content(service_account="admin"), "wrong_identity"),
        (content(authorities()), "untrusted"),
        (replace(content(), leaf=replace(content().leaf, key_pem=content().leaf.key_pem)), "key_mismatch"),
    ],
    ids=["another pod's", "another account's", "another root's", "another key"],
)
def test_a_leaf_that_is_not_this_pods_is_not_kept(damaged: Content, reason: str) -> None:
    with pytest.raises(BadCertificate) as caught:
        held_leaf(build_secret(damaged), ORDERS, TRUSTED, WANTED, NOW)
    assert caught.value.reason == reason


def test_an_expired_leaf_is_not_kept() -> None:
    with pytest.raises(BadCertificate, match="expired"):
        held_leaf(build_secret(content()), ORDERS, TRUSTED, WANTED, NOW + DAY)


def test_an_older_revision_in_the_configuration_is_no_damage_and_a_newer_one_is() -> None:
    written = content()
    raw = build_secret(written)
    newer = replace(written, wanted=replace(WANTED, config=replace(WANTED.config, revision=99)))
    assert is_intact(raw, newer)
    assert not is_intact(build_secret(newer), written)


def test_a_key_never_shows_in_what_is_logged() -> None:
    assert "PRIVATE" not in repr(content())


@given(
    st.sampled_from(["tls.crt", "tls.key", "ca.crt", "config.json"]),
    st.one_of(st.binary(max_size=200).map(lambda data: base64.b64encode(data).decode()), st.text(max_size=20)),
)
def test_no_content_of_a_file_is_believed_or_breaks_us(name: str, value: str) -> None:
    written = content()
    raw = build_secret(written)
    raw["data"][name] = value
    assert not is_intact(raw, written)
    try:
        leaf = held_leaf(raw, ORDERS, TRUSTED, WANTED, NOW)
    except BadCertificate:
        return
    assert leaf == written.leaf


def test_a_leaf_of_an_intermediate_is_known_by_the_one_that_signed_it() -> None:
    """Not by its root: the intermediate is what drains."""
    pki = TestAuthority("test.example", intermediates=1)
    issued = pki.issue(identity_of("test.example", ORDERS), pod_uid=ORDERS.uid, not_before=NOW, ttl=DAY)
    signer = Authority(
        "handfast-authority-1",
        "test.example",
        AuthorityState.ACTIVE,
        issued.chain[1],
        pki.issuer_key,
        chain=issued.chain[1:],
        root=pki.root,
    )
    trusted = AuthoritySet("test.example", (signer,))
    assert held_leaf(secret_of(issued), ORDERS, trusted, WANTED, NOW).issuer == signer.serial != TRUSTED.active.serial


def test_of_two_authorities_with_one_key_the_one_that_signs_now_counts() -> None:
    """An external issuer that is renewed may keep its key: then no leaf of it needs to be replaced."""
    drains = replace(TRUSTED.active, state=AuthorityState.DRAINING)
    assert isinstance(drains.key, EllipticCurvePrivateKey)
    renewed = TestAuthority.of("test.example", drains.certificate, drains.key)
    signs = replace(TRUSTED.active, certificate=renewed.renewed_root(NOW), since=NOW)
    for order in ((drains, signs), (signs, drains)):
        both = AuthoritySet("test.example", order)
        assert held_leaf(build_secret(content()), ORDERS, both, WANTED, NOW).issuer == signs.serial


def secret_of(issued: Issued) -> dict[str, Any]:
    files = {"tls.crt": issued.chain_pem, "tls.key": issued.key_pem}
    return {"data": {name: base64.b64encode(file).decode() for name, file in files.items()}}
