"""The table of an authority's life, and what follows from it for signing and for the bundle."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from handfast_operator.authority.authority import Authority, AuthoritySet, NoAuthority
from handfast_operator.authority.root import make_root
from handfast_operator.authority.state import TRANSITIONS, AuthorityState, BadTransition, check_transition

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FORWARD = ["Prepared", "Distributed", "Active", "Draining", "Retired"]


def authority(state: str, number: int = 1, made: datetime = NOW) -> Authority:
    root = make_root("test.example", made)
    return Authority(f"handfast-authority-{number}", "test.example", AuthorityState(state), root.certificate, root.key)


@pytest.mark.parametrize(("before", "after"), list(pairwise(FORWARD)))
def test_an_authority_goes_forward_one_state_at_a_time(before: str, after: str) -> None:
    check_transition(AuthorityState(before), AuthorityState(after))


def test_no_state_is_skipped_on_the_way_to_signing() -> None:
    with pytest.raises(BadTransition, match="Prepared cannot become Active"):
        check_transition(AuthorityState.PREPARED, AuthorityState.ACTIVE)


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(AuthorityState)
    assert TRANSITIONS[AuthorityState.RETIRED] == frozenset()


def test_the_bundle_has_what_is_trusted_and_what_is_remembered() -> None:
    everyone = tuple(authority(state, number) for number, state in enumerate(FORWARD, 1))
    lost = authority("Active").certificate
    trusted = AuthoritySet("test.example", everyone, (lost,))
    assert set(trusted.bundle) == {*(each.certificate for each in everyone[1:4]), lost}
    assert everyone[4].serial not in trusted.issuers


def test_the_order_of_authorities_changes_neither_bundle_nor_fingerprint() -> None:
    everyone = (authority("Active", 1), authority("Draining", 2))
    one, other = AuthoritySet("test.example", everyone), AuthoritySet("test.example", everyone[::-1])
    assert (one.bundle_pem, one.fingerprint) == (other.bundle_pem, other.fingerprint)


def test_of_two_active_ones_the_younger_signs() -> None:
    old, young = authority("Active", 1), authority("Active", 2, NOW + timedelta(days=1))
    assert AuthoritySet("test.example", (young, old)).active is young


def test_a_set_without_an_active_one_says_so() -> None:
    with pytest.raises(NoAuthority, match=r"test\.example"):
        _ = AuthoritySet("test.example", (authority("Draining"),)).active


def test_only_an_active_one_that_has_not_expired_signs() -> None:
    active = authority("Active")
    assert active.signs(NOW)
    assert not active.signs(NOW + timedelta(days=90))
    assert not replace(active, state=AuthorityState.DRAINING).signs(NOW)
    assert "PRIVATE" not in repr(active)
