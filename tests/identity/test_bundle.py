import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.errors import BadCertificate
from handfast_sidecar.identity.bundle import Bundle, fingerprint, parse_bundle
from support.pki import TestAuthority

OLD, NEW = TestAuthority("test.example"), TestAuthority("test.example")


def test_a_fingerprint_does_not_depend_on_order_or_repetition() -> None:
    assert fingerprint([OLD.root, NEW.root]) == fingerprint([NEW.root, OLD.root, NEW.root])
    assert fingerprint([OLD.root]) != fingerprint([OLD.root, NEW.root])


def test_the_fingerprint_of_nothing_is_that_of_no_bytes() -> None:
    assert fingerprint([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_bundle_is_read_with_all_its_roots() -> None:
    roots = parse_bundle(OLD.bundle_pem + b"# the next one\n" + NEW.bundle_pem)
    assert roots == (OLD.root, NEW.root)
    assert Bundle("test.example", roots).fingerprint == fingerprint(roots)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"", "bundle_empty"),
        (b"hello", "bundle_empty"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "bundle_malformed"),
        (OLD.issue().chain_pem, "bundle_not_a_ca"),
        (OLD.bundle_pem + OLD.issue().key_pem, ""),
        (OLD.bundle_pem * 65, "bundle_too_large"),
    ],
)
def test_a_bundle_that_cannot_be_trusted_is_refused(pem: bytes, reason: str) -> None:
    if not reason:
        assert parse_bundle(pem) == (OLD.root,)
        return
    with pytest.raises(BadCertificate) as refused:
        parse_bundle(pem)
    assert refused.value.reason == reason


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_garbage_around_or_inside_a_bundle_is_refused_or_ignored(before: bytes, after: bytes) -> None:
    try:
        assert parse_bundle(before + OLD.bundle_pem + after) == (OLD.root,)
    except BadCertificate:
        return
