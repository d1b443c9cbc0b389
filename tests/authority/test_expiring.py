"""When somebody is told that a certificate ends: once at a third, once at a sixth, and never of what goes its way."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.authority.expiring import (
    Life,
    Notice,
    Within,
    authority_notice,
    authority_within,
    issuer_notice,
    leaf_notice,
    leaf_within,
    loaded_notice,
    serving_notice,
)
from handfast_operator.authority.schedule import renew_at

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LEAF, ROOT = Life(START, START + DAY), Life(START, START + 90 * DAY)
UIDS = st.uuids(version=4).map(str)


@given(UIDS, st.integers(300, 30 * 86400))
def test_a_leaf_that_is_renewed_in_time_is_never_told_of(uid: str, seconds: int) -> None:
    life = Life(START, START + timedelta(seconds=seconds))
    due = renew_at(life.begins, life.ends, uid)
    assert leaf_within(due + (life.ends - due) / 11, life, due) is None


@given(UIDS, st.integers(300, 30 * 86400))
def test_a_leaf_that_is_not_renewed_is_told_of_at_a_third_a_sixth_and_the_end(uid: str, seconds: int) -> None:
    life = Life(START, START + timedelta(seconds=seconds))
    due = renew_at(life.begins, life.ends, uid)
    instants = (life.ends - (life.ends - life.begins) * part for part in (0.25, 0.2, 0.16, 0.01, 0, -1))
    found = [leaf_within(each, life, due) for each in instants]
    assert found == [Within.THIRD, Within.THIRD, Within.SIXTH, Within.SIXTH, Within.EXPIRED, Within.EXPIRED]


def test_a_root_is_told_of_at_a_third_when_no_rotation_has_begun_by_itself() -> None:
    assert authority_within(START + 60 * DAY - HOUR, ROOT, replaced=False) is None
    assert authority_within(START + 60 * DAY + HOUR, ROOT, replaced=False) is None, "it begins in this minute"
    assert authority_within(START + 61 * DAY, ROOT, replaced=False) is Within.THIRD


def test_a_root_that_is_being_replaced_is_told_of_from_a_sixth_on() -> None:
    assert authority_within(START + 74 * DAY, ROOT, replaced=True) is None
    assert authority_within(START + 75 * DAY, ROOT, replaced=True) is Within.SIXTH
    assert authority_within(START + 90 * DAY, ROOT, replaced=True) is Within.EXPIRED


NOTICES = [
    leaf_notice(Within.THIRD, secret="shop/orders-x", serial="1f", life=LEAF, why="Forbidden: quota"),
    loaded_notice(Within.SIXTH, secret="shop/orders-x", serial="1f", life=LEAF, since=START + 12 * HOUR),
    authority_notice(Within.SIXTH, name="handfast-authority-1", life=ROOT, replaced=True, paused=False),
    authority_notice(Within.THIRD, name="handfast-authority-1", life=ROOT, replaced=False, paused=True),
    issuer_notice(Within.THIRD, name="handfast-authority-2", life=ROOT, why="its key is of another certificate"),
    serving_notice(Within.SIXTH, role="webhook", life=LEAF, why=""),
]


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: notice.reason)
def test_a_sentence_fits_an_event_and_says_when_and_what_to_do(notice: Notice) -> None:
    assert len(notice.note.encode()) <= 1024
    assert notice.reason.endswith("Expiring")
    assert "ends at 2026-0" in notice.note
    assert f"less than a {notice.within} of its life is left" in notice.note
    assert any(word in notice.note for word in ("handfast ", "kubectl ", "log of"))


def test_the_cause_is_said_where_it_is_known() -> None:
    told = [each.note for each in NOTICES]
    assert "the last attempt failed: Forbidden: quota" in told[0]
    assert "has had a new one since 2026-03-02T00:00:00Z, which kubelet has not projected" in told[1]
    assert "`handfast rotate --status` names who is waited for" in told[2]
    assert "handfast rotate --resume" in told[3]
    assert "was refused: its key is of another certificate" in told[4]
    assert "no pod that opts in can be created" in told[5]


def test_what_has_ended_is_another_reason() -> None:
    notice = leaf_notice(Within.EXPIRED, secret="shop/orders-x", serial="1f", life=LEAF, why="")
    assert notice.reason == "LeafExpired"
    assert "1f in the Secret shop/orders-x ended at 2026-03-02T12:00:00Z: no attempt has failed" in notice.note
