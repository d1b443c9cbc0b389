"""The list of whom nobody trusts any more."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.errors import BadInput
from handfast_sidecar.identity.revocation import MAX_ENTRIES, Revocation, Revocations, serial_text
from handfast_sidecar.identity.spiffe import SpiffeId

THIEF = SpiffeId.parse("spiffe://test.example/ns/shop/sa/thief")
OTHER = SpiffeId.parse("spiffe://test.example/ns/shop/sa/other")
LIST = Revocations(7, (Revocation(THIEF, reason="its node was broken into"), Revocation(serial="1f", until=1000)))


def test_an_identity_is_revoked_whatever_its_certificate() -> None:
    found = LIST.of(THIEF, "77", 5)
    assert str(found) == f"{THIEF} is revoked: its node was broken into"
    assert LIST.of(OTHER, "77", 5) is None


def test_a_serial_number_is_revoked_until_its_time() -> None:
    assert str(LIST.of(OTHER, "1f", 999)) == "the certificate with the serial 1f is revoked: no reason was given"
    assert LIST.of(OTHER, "1f", 1000) is None


def test_of_two_entries_for_the_same_the_longer_one_counts() -> None:
    for order in (1, -1):
        entries = (Revocation(THIEF, until=10), Revocation(THIEF, until=30), Revocation(THIEF, until=20))[::order]
        assert Revocations(1, entries).of(THIEF, "", 29)
        assert not Revocations(1, entries).of(THIEF, "", 30)
        assert Revocations(1, (*entries, Revocation(THIEF))[::order]).of(THIEF, "", 99)


def test_the_golden_form_of_a_list() -> None:
    document = {
        "revision": 7,
        "entries": [{"identity": str(THIEF), "reason": "its node was broken into"}, {"serial": "1f", "until": 1000}],
    }
    assert LIST.to_json() == document
    assert Revocations.from_json(document) == LIST


def test_an_entry_of_a_later_version_refuses_nobody() -> None:
    assert Revocations.from_json({"revision": 1, "entries": [{"key": "aa", "reason": "x"}]}).entries == ()


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"revision": -1, "entries": []},
        {"revision": True, "entries": []},
        {"revision": 1, "entries": {}},
        {"revision": 1, "entries": [{"identity": "spiffe://"}]},
        {"revision": 1, "entries": [{"serial": "xyz"}]},
        {"revision": 1, "entries": [{"serial": "1f", "until": "tomorrow"}]},
        {"revision": 1, "entries": ["1f"]},
        {"revision": 1, "entries": [{"serial": "1f"}] * (MAX_ENTRIES + 1)},
    ],
)
def test_a_list_that_cannot_be_read_is_never_an_empty_one(document: object) -> None:
    with pytest.raises(BadInput):
        Revocations.from_json(document)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
entries = st.fixed_dictionaries({}, optional={"identity": anything, "serial": anything, "until": anything})


@given(st.fixed_dictionaries({"revision": anything, "entries": st.lists(entries | anything, max_size=4)}) | anything)
def test_any_document_is_a_list_or_bad_input(document: object) -> None:
    try:
        found = Revocations.from_json(document)
    except BadInput:
        return
    assert Revocations.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize("written", ["1F", "0x1f", "00:1F", "00 1f"])
def test_a_serial_number_is_read_as_people_write_it(written: str) -> None:
    assert serial_text(written) == "1f"


@pytest.mark.parametrize("written", ["", "xyz", "0x", "1f" * 21, "-1f", "\uff11"])
def test_what_is_no_serial_number_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="no serial number"):
        serial_text(written)
