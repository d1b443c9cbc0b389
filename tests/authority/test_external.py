"""Secrets that somebody else fills: each layout is read, each mistake has its own word and a sentence that helps."""

import base64
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from handfast_operator.authority.external import ExternalIssuer, read_issuer
from handfast_operator.authority.issuer_certificate import IssuerRefused
from handfast_operator.authority.issuer_trial import try_issuer
from support.issuers import DAY, Ca, chain_of, make_ca
from support.pki import new_key, usage

GUIDE = Path(__file__).parents[2] / "docs" / "certificates.md"
WHERE = "handfast-system/handfast-issuer"
SHORT = 1024
BOTH_ROLES = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
INTERMEDIATE = chain_of(2)


def read(data: object, ttl: timedelta = DAY) -> ExternalIssuer:
    return read_issuer(data, WHERE, datetime.now(UTC), ttl)


def refusal(data: object, ttl: timedelta = DAY) -> IssuerRefused:
    with pytest.raises(IssuerRefused) as refused:
        read(data, ttl)
    assert WHERE in str(refused.value)
    return refused.value


def certificates(*of: Ca) -> tuple[x509.Certificate, ...]:
    return tuple(each.certificate for each in of)


# --- layouts


def test_cert_managers_intermediate_is_sent_and_its_root_is_trusted() -> None:
    ours = chain_of(2)
    issuer = read(ours.secret())
    assert (issuer.certificate, issuer.chain) == (ours.certificate, certificates(ours))
    assert issuer.root == ours.path[-1].certificate


def test_of_a_long_chain_everything_below_the_root_is_sent() -> None:
    ours = chain_of(4)
    issuer = read(ours.secret())
    assert issuer.chain == certificates(*ours.path[:3])
    assert issuer.root == ours.path[3].certificate


def test_a_root_that_signs_itself_sends_nothing() -> None:
    ours = chain_of(1)
    for data in (ours.secret(), ours.secret(ca=None)):
        issuer = read(data)
        assert (issuer.certificate, issuer.chain, issuer.root) == (ours.certificate, (), ours.certificate)


def test_a_root_appended_to_the_chain_is_taken_out_of_it() -> None:
    ours = chain_of(3)
    issuer = read(ours.secret(crt=b"".join(each.pem for each in ours.path), ca=None))
    assert issuer.chain == certificates(*ours.path[:2])
    assert issuer.root == ours.path[2].certificate


def test_what_is_not_on_the_way_is_neither_sent_nor_trusted() -> None:
    ours, strange = chain_of(2), chain_of(2)
    data = ours.secret(crt=ours.pem + strange.pem, ca=strange.path[1].pem + ours.path[1].pem)
    issuer = read(data)
    assert issuer.chain == certificates(ours)
    assert issuer.root == ours.path[1].certificate


def test_of_two_roots_with_one_key_the_longer_lived_is_trusted() -> None:
    root = make_ca(name="root", ttl=30 * DAY)
    renewed = make_ca(name="root", key=root.key)
    ours = make_ca(root)
    assert read(ours.secret(ca=root.pem + renewed.pem)).root == renewed.certificate


def test_the_source_names_the_certificates_whatever_file_they_are_in() -> None:
    ours = chain_of(2)
    appended = ours.secret(crt=ours.pem + ours.path[1].pem, ca=None)
    assert read(ours.secret()).source == read(appended).source
    assert read(ours.secret()).source != read(make_ca(ours.path[1], key=ours.key).secret()).source


def test_it_ends_with_the_first_of_its_certificates() -> None:
    root = make_ca(ttl=20 * DAY)
    ours = make_ca(root, ttl=90 * DAY)
    assert read(ours.secret()).ends == root.certificate.not_valid_after_utc


def test_an_issuer_does_not_show_its_key() -> None:
    assert "key" not in repr(read(INTERMEDIATE.secret())).replace("public_key", "")


# --- keys


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_the_usual_curves_sign(curve: ec.EllipticCurve) -> None:
    assert read(chain_of(2, key=ec.generate_private_key(curve)).secret()).chain


@pytest.mark.parametrize("bits", [2048, 3072])
def test_rsa_signs(bits: int) -> None:
    assert read(chain_of(2, key=rsa.generate_private_key(65537, bits)).secret()).chain


def test_rsa_that_is_short_is_weak() -> None:
    weak = refusal(chain_of(2, key=rsa.generate_private_key(65537, SHORT)).secret())
    assert weak.reason == "weak_key"
    assert "1024 bits" in str(weak)


def test_a_short_curve_is_weak() -> None:
    weak = refusal(chain_of(2, key=ec.generate_private_key(ec.SECP192R1())).secret())
    assert weak.reason == "weak_key"
    assert "secp192r1" in str(weak)


def test_a_weak_root_makes_the_chain_weak() -> None:
    root = make_ca(name="old root", key=rsa.generate_private_key(65537, SHORT))
    weak = refusal(make_ca(root).secret())
    assert weak.reason == "weak_key"
    assert "old root" in str(weak)


@pytest.mark.parametrize(
    "key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.BrainpoolP256R1())], ids=["25519", "bp"]
)
def test_other_kinds_of_keys_do_not_sign(key: Any) -> None:
    assert refusal(chain_of(2, key=key).secret()).reason == "key_kind"


def test_a_root_may_be_ed25519_and_not_ed448() -> None:
    assert read(make_ca(make_ca(key=ed25519.Ed25519PrivateKey.generate())).secret()).chain
    assert refusal(make_ca(make_ca(key=ed448.Ed448PrivateKey.generate())).secret()).reason == "key_kind"


def test_the_key_of_another_certificate_is_refused() -> None:
    wrong = refusal(INTERMEDIATE.secret(key=chain_of(1).key_pem))
    assert wrong.reason == "wrong_key"
    assert "the first in tls.crt" in str(wrong)


def test_a_chain_that_begins_with_its_root_has_the_wrong_key() -> None:
    ours = chain_of(2)
    assert refusal(ours.secret(crt=ours.path[1].pem + ours.pem)).reason == "wrong_key"


def test_a_key_with_a_password_and_one_that_is_none_are_refused_without_a_word_of_them() -> None:
    locked = INTERMEDIATE.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    half = INTERMEDIATE.key_pem[: len(INTERMEDIATE.key_pem) // 2]
    for content in (locked, half, b"-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n"):
        refused = refusal(INTERMEDIATE.secret(key=content))
        assert refused.reason == "bad_key"
        for line in content.decode().splitlines():
            assert line not in str(refused)


# --- what is missing


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "no_certificate"),
        ({}, "no_certificate"),
        (INTERMEDIATE.secret(crt=None), "no_certificate"),
        (INTERMEDIATE.secret(crt=b""), "no_certificate"),
        (INTERMEDIATE.secret(key=None), "no_key"),
        (INTERMEDIATE.secret(ca=None), "no_root"),
        (INTERMEDIATE.secret(ca=b""), "no_root"),
        (INTERMEDIATE.secret(ca=chain_of(1).pem), "broken_chain"),
        (chain_of(3).secret(ca=None), "no_root"),
        (INTERMEDIATE.secret(crt=b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"), "malformed"),
        (INTERMEDIATE.secret(ca=b"-----BEGIN nothing"), "malformed"),
        ({**INTERMEDIATE.secret(), "tls.crt": "!"}, "malformed"),
    ],
)
def test_what_is_missing_is_named(data: object, reason: str) -> None:
    assert refusal(data).reason == reason


def test_a_chain_with_a_gap_says_where_it_ends() -> None:
    ours = chain_of(3)
    gap = refusal(ours.secret(crt=ours.pem))
    assert gap.reason == "broken_chain"
    assert ours.path[1].certificate.subject.rfc4514_string() in str(gap)


def test_a_root_of_the_same_name_with_another_key_is_told_apart() -> None:
    ours = make_ca(make_ca(name="root"))
    imposter = make_ca(name="root")
    assert "another key than its signed" in str(refusal(ours.secret(ca=imposter.pem)))


def test_a_signature_of_another_key_is_no_step_up() -> None:
    forged = make_ca(make_ca(), signed_by=new_key())
    assert refusal(forged.secret()).reason == "broken_chain"


def test_a_key_identifier_of_another_issuer_is_no_step_up() -> None:
    """OpenSSL would look for another one, whatever the signature says."""
    elsewhere = (x509.AuthorityKeyIdentifier(b"another key", None, None), False)
    assert refusal(make_ca(make_ca(), authority_key=False, extensions=[elsewhere]).secret()).reason == "broken_chain"


def test_more_certificates_than_a_chain_has_are_not_read() -> None:
    store = b"".join(make_ca().pem for _ in range(64))
    assert refusal(INTERMEDIATE.secret(ca=store)).reason == "too_many"


# --- what a certificate says of itself


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"ca": False}, "not_a_ca"),
        ({"ca": None}, "not_a_ca"),
        ({"constraints_critical": False}, "constraints_not_critical"),
        ({"key_usage": None}, "no_cert_sign"),
        ({"key_usage": usage(digital_signature=True)}, "no_cert_sign"),
        ({"roles": [ExtendedKeyUsageOID.CLIENT_AUTH]}, "extended_key_usage"),
        ({"roles": [ExtendedKeyUsageOID.SERVER_AUTH]}, "extended_key_usage"),
        ({"roles": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]}, "extended_key_usage"),
        ({"subject_key": False}, "no_key_identifier"),
        ({"authority_key": False}, "no_key_identifier"),
        ({"start": -10 * DAY, "ttl": -DAY}, "expired"),
        ({"start": DAY}, "not_yet_valid"),
        ({"ttl": 2 * DAY - timedelta(minutes=1)}, "ends_soon"),
        ({"extensions": [(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]},
         "critical_extension"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["signing", "above"])
def test_each_fault_has_its_word_at_the_signing_certificate_and_above(
    wrong: dict[str, Any], reason: str, where: str
) -> None:
    root = make_ca()
    bad = make_ca(root, name="the bad one", **wrong)
    ours = bad if where == "signing" else make_ca(bad)
    refused = refusal(ours.secret())
    assert refused.reason == reason
    assert "the bad one" in str(refused)


def test_an_authority_that_names_both_roles_signs() -> None:
    assert read(chain_of(2, roles=BOTH_ROLES).secret()).chain


def test_a_root_need_not_name_itself_as_its_issuer() -> None:
    assert read(make_ca(make_ca(authority_key=False)).secret()).chain
    assert refusal(make_ca(make_ca(subject_key=False)).secret()).reason == "no_key_identifier"


def test_a_path_length_counts_the_authorities_below() -> None:
    assert read(make_ca(make_ca(path_length=1), path_length=0).secret()).chain
    short = refusal(make_ca(make_ca(make_ca(), path_length=0)).secret())
    assert short.reason == "path_length"
    assert "allows 0 authorities below it (pathLen), and 1 are there" in str(short)


def test_a_chain_that_is_longer_than_peers_take_is_refused() -> None:
    assert read(chain_of(4).secret()).chain
    assert refusal(chain_of(5).secret()).reason == "chain_too_long"


def test_what_ends_within_two_lives_of_a_leaf_is_refused_by_the_longest_policy_in_force() -> None:
    ours = chain_of(2, ttl=30 * DAY)
    assert read(ours.secret(), ttl=14 * DAY).chain
    soon = refusal(ours.secret(), ttl=15 * DAY + timedelta(minutes=1))
    assert soon.reason == "ends_soon"
    assert "renewBefore" in str(soon)


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def test_a_signature_with_sha1_is_weak_on_what_a_root_signed_and_means_nothing_on_the_root(tmp_path: Path) -> None:
    """Made with openssl, as a person would: this library signs nothing with SHA-1 any more."""
    root, ours = make_ca(), make_ca(make_ca(), name="signed with SHA-1")
    extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n"
    files = {"root.key": root.key_pem, "root.crt": root.pem, "ours.key": ours.key_pem}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "ca.cnf").write_text(extensions + "authorityKeyIdentifier=keyid\n")
    (tmp_path / "root.cnf").write_text(extensions)
    at = {name: str(tmp_path / name) for name in (*files, "ca.cnf", "root.cnf", "ours.csr", "ours.crt", "sha1.crt")}
    openssl("req", "-new", "-key", at["ours.key"], "-subj", "/CN=signed with SHA-1", "-out", at["ours.csr"])
    sign = ["x509", "-req", "-in", at["ours.csr"], "-sha1", "-days", "90", "-CA", at["root.crt"]]
    openssl(*sign, "-CAkey", at["root.key"], "-CAcreateserial", "-extfile", at["ca.cnf"], "-out", at["ours.crt"])
    weak = refusal(root.secret(crt=(tmp_path / "ours.crt").read_bytes(), key=ours.key_pem))
    assert weak.reason == "weak_signature"
    assert "SHA1" in str(weak)
    sign = ["x509", "-req", "-in", at["ours.csr"], "-sha1", "-days", "90", "-key", at["ours.key"]]
    openssl(*sign, "-extfile", at["root.cnf"], "-out", at["sha1.crt"])
    pem = (tmp_path / "sha1.crt").read_bytes()
    assert read(root.secret(crt=pem, key=ours.key_pem, ca=None)).chain == ()


def test_what_the_guide_tells_a_person_to_do_makes_an_issuer(tmp_path: Path) -> None:
    section = GUIDE.read_text().partition("### By hand")[2]
    block = next(each for each in section.split("\n\n") if each.startswith("    "))
    commands = dedent(block).partition("kubectl")[0]
    root = make_ca()
    (tmp_path / "root.crt").write_bytes(root.pem)
    (tmp_path / "root.key").write_bytes(root.key_pem)
    subprocess.run(["bash", "-ec", commands], cwd=tmp_path, check=True, capture_output=True)
    files = {name: (tmp_path / f"issuer.{name}").read_bytes() for name in ("crt", "key")}
    issuer = read(root.secret(**files))
    assert issuer.root == root.certificate
    try_issuer(issuer, WHERE, "test.example", "handfast-system")


# --- whatever is there


FILES = st.sampled_from(["tls.crt", "tls.key", "ca.crt"])
GOOD = {name: base64.b64decode(content) for name, content in chain_of(3).secret().items()}


def told(data: object) -> None:
    """It is an issuer, or refused in words that have nothing of the key."""
    refused = None
    try:
        read_issuer(data, WHERE, datetime.now(UTC), DAY)
    except IssuerRefused as error:
        refused = error
    if refused is not None:
        assert refused.reason
        for line in GOOD["tls.key"].decode().splitlines():
            assert line not in str(refused)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(FILES, st.text() | st.binary().map(lambda each: base64.b64encode(each).decode()) | st.none()))
def test_garbage_is_refused_and_nothing_else(data: object) -> None:
    told(data)


@settings(max_examples=300, deadline=None)
@given(FILES, st.integers(0, 4000), st.binary(min_size=1, max_size=4))
def test_a_damaged_file_is_refused_or_read(name: str, at: int, damage: bytes) -> None:
    content = bytearray(GOOD[name])
    at %= len(content)
    content[at : at + len(damage)] = damage
    told({each: base64.b64encode(content if each == name else GOOD[each]).decode() for each in GOOD})


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 4000), st.integers(1, 255))
def test_a_certificate_with_any_byte_changed_inside_is_refused_or_read(at: int, change: int) -> None:
    """Below the PEM: the parser reads many parts only when they are asked for."""
    der = bytearray(x509.load_pem_x509_certificate(GOOD["tls.crt"]).public_bytes(Encoding.DER))
    der[at % len(der)] ^= change
    body = base64.encodebytes(bytes(der)).decode()
    pem = f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n".encode()
    files = GOOD | {"tls.crt": pem}
    told({name: base64.b64encode(content).decode() for name, content in files.items()})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | st.integers() | st.text(), max_size=3) | st.text() | st.integers())
def test_data_that_is_no_object_is_refused(data: object) -> None:
    assert refusal(data).reason == "no_certificate"
