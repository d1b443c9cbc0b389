"""When a tunnel ends and when it is replaced."""

from datetime import UTC, datetime, timedelta

from handfast_sidecar.tunnel.renewal import FIRST_RETRY, asked_retry_at, expiry, renew_at, retry_at, spread_s

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_tunnel_lives_as_long_as_the_shorter_of_both_leaves() -> None:
    assert expiry(START + HOUR, START + 2 * HOUR) == START + HOUR


def test_a_tunnel_is_renewed_well_before_its_end() -> None:
    assert renew_at(START, START + HOUR) == START + timedelta(minutes=36)


def test_tries_come_closer_together_towards_the_end() -> None:
    first = retry_at(START, START + HOUR) - START
    later = retry_at(START, START + timedelta(minutes=8)) - START
    assert (first, later) == (timedelta(minutes=7, seconds=30), timedelta(minutes=1))


def test_tries_never_come_closer_than_the_first_retry() -> None:
    assert retry_at(START, START + timedelta(seconds=1)) == START + FIRST_RETRY


def test_a_renewal_that_a_rotation_waits_for_is_tried_again_within_a_minute() -> None:
    tries = [asked_retry_at(START, START + 24 * HOUR, failures) - START for failures in (1, 2, 3, 100)]
    assert tries == [timedelta(seconds=seconds) for seconds in (2, 4, 8, 60)]


def test_a_thousand_tunnels_are_not_renewed_in_one_moment() -> None:
    assert (spread_s(1), spread_s(1000)) == (3, 5)
