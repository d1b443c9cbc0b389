"""Renewal and retries: early enough, spread, and the same after a restart."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.authority.schedule import renew_at, retry_after

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def test_a_leaf_is_renewed_from_half_of_its_life_on() -> None:
    due = [renew_at(START, START + 24 * HOUR, f"uid-{number}") - START for number in range(500)]
    assert 12 * HOUR <= min(due) < 12 * HOUR + 10 * MINUTE
    assert 16 * HOUR - 10 * MINUTE < max(due) <= 16 * HOUR


def test_a_short_life_is_renewed_after_a_third() -> None:
    due = [renew_at(START, START + 5 * MINUTE, f"uid-{number}") - START for number in range(500)]
    assert 100 <= min(due).total_seconds() <= max(due).total_seconds() <= 125


def test_the_time_of_a_pod_is_always_the_same() -> None:
    assert (
        renew_at(START, START + HOUR, "a") == renew_at(START, START + HOUR, "a") != renew_at(START, START + HOUR, "b")
    )


def test_a_leaf_at_the_end_of_its_issuer_is_not_renewed_in_a_storm() -> None:
    assert renew_at(START, START + timedelta(seconds=3), "a") == START + MINUTE


@given(st.integers(120, 30 * 24 * 3600), st.text(max_size=40))
def test_a_third_of_any_life_is_left_at_renewal(life_s: int, uid: str) -> None:
    due = renew_at(START, START + timedelta(seconds=life_s), uid)
    assert START + MINUTE <= due <= START + timedelta(seconds=life_s * 2 / 3 + 1)


def test_retries_double_up_to_a_tenth_of_what_remains() -> None:
    delays = [retry_after(failures, HOUR).total_seconds() for failures in range(1, 13)]
    assert delays[:4] == [0.25, 0.5, 1, 2]
    assert delays[-1] == 360
    assert retry_after(10_000, 30 * 24 * HOUR) == 72 * HOUR


def test_a_pod_without_a_leaf_is_retried_within_half_a_minute() -> None:
    assert retry_after(100, None) == timedelta(seconds=30)


def test_an_expired_leaf_does_not_make_retries_spin() -> None:
    assert retry_after(5, timedelta(seconds=-60)) == timedelta(seconds=1)
