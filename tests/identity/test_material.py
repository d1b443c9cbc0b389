from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from handfast_sidecar.errors import BadCertificate, BadConfig
from handfast_sidecar.identity.bundle import fingerprint
from handfast_sidecar.identity.material import parse_material, read_material
from handfast_sidecar.wellknown import FILE_CONFIG, FILE_KEY
from support.pki import Issued, TestAuthority, new_key, plain_config, write_files

AUTHORITY = TestAuthority("test.example")
CONFIG = plain_config()


def refused(issued: Issued) -> str:
    with pytest.raises(BadCertificate) as caught:
        issued.material(CONFIG)
    return caught.value.reason


def test_a_projected_secret_is_read_as_one_version(tmp_path: Path) -> None:
    issued = AUTHORITY.issue("spiffe://test.example/ns/shop/sa/cart")
    issued.write(tmp_path, CONFIG)
    material = read_material(tmp_path)
    assert material.leaf.spiffe_id.path == "/ns/shop/sa/cart"
    assert material.config == CONFIG
    assert material.fingerprint == fingerprint([AUTHORITY.root])


def test_plain_files_are_read_where_no_kubelet_projected_them(tmp_path: Path) -> None:
    write_files(tmp_path, AUTHORITY.issue())
    (tmp_path / FILE_CONFIG).write_text(CONFIG.dump())
    assert read_material(tmp_path).config == CONFIG


def test_a_chain_with_intermediates_leads_to_the_root() -> None:
    material = TestAuthority("test.example", intermediates=3).issue().material(CONFIG)
    assert len(material.chain) == 4


def test_a_chain_longer_than_peers_accept_is_refused() -> None:
    assert refused(TestAuthority("test.example", intermediates=4).issue()) == "chain_too_long"


def test_the_key_of_another_certificate_is_refused() -> None:
    assert refused(replace(AUTHORITY.issue(), key=new_key())) == "key_mismatch"


def test_a_leaf_of_another_trust_domain_is_refused() -> None:
    assert refused(AUTHORITY.issue("spiffe://other.example/ns/a/sa/b")) == "wrong_trust_domain"


def test_a_leaf_that_the_bundle_did_not_sign_is_refused() -> None:
    stranger = TestAuthority("test.example")
    assert refused(replace(AUTHORITY.issue(), bundle=stranger.bundle_pem)) == "untrusted"


def test_a_ca_as_our_own_leaf_is_refused() -> None:
    assert refused(AUTHORITY.issue(ca=True)) == "ca_as_leaf"


def test_an_expired_leaf_is_loaded_and_says_so() -> None:
    issued = AUTHORITY.issue(not_before=datetime.now(UTC) - timedelta(hours=2), ttl=timedelta(hours=1))
    material = issued.material(CONFIG)
    assert material.expired(datetime.now(UTC))
    assert not material.expired(datetime.now(UTC) - timedelta(minutes=90))


def test_a_key_that_cannot_be_read_is_never_quoted() -> None:
    secret = "-----BEGIN PRIVATE KEY-----\nsecretsecret\n-----END PRIVATE KEY-----\n"
    issued = AUTHORITY.issue()
    with pytest.raises(BadCertificate) as caught:
        parse_material(issued.chain_pem, secret.encode(), issued.bundle, CONFIG.dump().encode())
    assert "secretsecret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_key_is_not_in_the_materials_own_text() -> None:
    assert "key=" not in repr(AUTHORITY.issue().material(CONFIG))


def test_a_broken_configuration_is_named(tmp_path: Path) -> None:
    write_files(tmp_path, AUTHORITY.issue())
    (tmp_path / FILE_CONFIG).write_text('{"schema": 99}')
    with pytest.raises(BadConfig, match="schema 99 is not known"):
        read_material(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    AUTHORITY.issue().write(tmp_path, CONFIG)
    (tmp_path / FILE_KEY).resolve().unlink()
    with pytest.raises(BadCertificate, match=r"tls\.key does not exist: is the Secret") as caught:
        read_material(tmp_path)
    assert caught.value.reason == "missing_file"
