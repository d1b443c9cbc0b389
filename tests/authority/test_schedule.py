"""Renewal and retries: early enough, spread, and the same after a restart."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from handfast_operator.authority.schedule import drain_at, renew_at, retry_after

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def test_a_leaf_is_renewed_from_a_third_of_its_life_on() -> None:
    due = [renew_at(START, START + 24 * HOUR, f"uid-{number}") - START for number in range(500)]
    assert 8 * HOUR <= min(due) < 8 * HOUR + 10 * MINUTE
    assert 10 * HOUR - 10 * MINUTE < max(due) <= 10 * HOUR


@given(st.integers(0, 1 << 60), st.integers(1, 30 * 24))
@settings(max_examples=10)
def test_pods_that_were_issued_in_one_second_are_renewed_in_all_seconds_alike(first: int, life_h: int) -> None:
    pods, life = 20_000, life_h * HOUR
    due = [(renew_at(START, START + life, f"{number:x}") - START) / life for number in range(first, first + pods)]
    low, high = min(due), max(due)
    parts = Counter(min(int(20 * (each - low) / (high - low)), 19) for each in due)
    assert high - low > 1 / 15
    assert max(parts.values()) < 1.2 * pods / 20


def test_the_shortest_life_leaves_kubelet_its_time() -> None:
    due = [renew_at(START, START + 5 * MINUTE, f"uid-{number}") - START for number in range(500)]
    assert 100 <= min(due).total_seconds() <= max(due).total_seconds() <= 125


def test_the_time_of_a_pod_is_always_the_same() -> None:
    assert (
        renew_at(START, START + HOUR, "a") == renew_at(START, START + HOUR, "a") != renew_at(START, START + HOUR, "b")
    )


def test_a_leaf_at_the_end_of_its_issuer_is_not_renewed_in_a_storm() -> None:
    assert renew_at(START, START + timedelta(seconds=3), "a") == START + MINUTE


@given(st.integers(120, 30 * 24 * 3600), st.text(max_size=40))
def test_more_than_half_of_any_life_is_left_at_renewal(life_s: int, uid: str) -> None:
    due = renew_at(START, START + timedelta(seconds=life_s), uid)
    assert START + MINUTE <= due <= START + max(timedelta(seconds=life_s * 5 / 12), MINUTE)


def test_ten_thousand_leaves_of_a_draining_authority_are_replaced_in_a_hundred_seconds_and_never_many_at_once() -> None:
    due = sorted(int((drain_at(START, 10_000, f"uid-{number}") - START).total_seconds()) for number in range(10_000))
    each_second = [due.count(second) for second in range(100)]
    assert sum(each_second) == 10_000
    assert 50 < min(each_second) <= max(each_second) < 150


@given(st.integers(0, 100_000), st.text(max_size=40))
def test_a_draining_leaf_is_replaced_at_once_and_after_a_restart_at_the_same_time(pods: int, uid: str) -> None:
    due = drain_at(START, pods, uid)
    assert START <= due <= START + timedelta(seconds=pods / 100)
    assert drain_at(START, pods, uid) == due


def test_retries_double_up_to_a_tenth_of_what_remains() -> None:
    delays = [retry_after(failures, HOUR).total_seconds() for failures in range(1, 13)]
    assert delays[:4] == [0.25, 0.5, 1, 2]
    assert delays[-1] == 360
    assert retry_after(10_000, 30 * 24 * HOUR) == 72 * HOUR


def test_a_pod_without_a_leaf_is_retried_within_half_a_minute() -> None:
    assert retry_after(100, None) == timedelta(seconds=30)


def test_an_expired_leaf_does_not_make_retries_spin() -> None:
    assert retry_after(5, timedelta(seconds=-60)) == timedelta(seconds=1)
