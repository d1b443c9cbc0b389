"""The clock of mode `Auto`: it counts quiet time that evidence covers, and no other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from handfast_operator.policy.promotion import (
    UNREPORTED_AFTER,
    Clock,
    PodSight,
    Sight,
    next_look,
    settle_time,
    start,
    step,
    stored,
)
from handfast_operator.resources.promotion import Promotion
from support.virtual_time import START

AFTER = timedelta(hours=24)


def at(hours: float = 0, seconds: float = 0) -> datetime:
    return START + timedelta(hours=hours, seconds=seconds)


def pod(reported: datetime | None, since: datetime = START, name: str = "shop/orders-1") -> PodSight:
    return PodSight(name, since, reported)


def looked(clock: Clock, now: datetime, *pods: PodSight, plaintext: datetime | None = None) -> Clock:
    return step(clock, now, Sight(pods, plaintext), AFTER)


def quiet(clock: Clock, now: datetime) -> Clock:
    """A look at a pod that has just reported."""
    return looked(clock, now, pod(now))


def test_a_quiet_day_promotes() -> None:
    clock = start(Promotion(), START)
    assert quiet(clock, at(24, -1)).promoted_at is None
    assert quiet(clock, at(24)).promoted_at == at(24)


def test_plaintext_starts_the_clock_anew() -> None:
    clock = looked(start(Promotion(), START), at(23), pod(at(23)), plaintext=at(22.5))
    assert clock.quiet_since == at(22.5)
    assert quiet(clock, at(46)).promoted_at is None
    assert quiet(clock, at(46.5)).promoted_at == at(46.5)


def test_plaintext_of_before_is_of_no_account() -> None:
    clock = looked(start(Promotion(), START), at(1), pod(at(1)), plaintext=at(-5))
    assert clock.quiet_since == START


def test_a_sidecar_whose_clock_is_ahead_saw_it_now() -> None:
    assert looked(start(Promotion(), START), at(1), pod(at(1)), plaintext=at(9)).quiet_since == at(1)


def test_the_clock_stands_from_the_last_report_of_a_silent_sidecar_and_goes_on_where_it_stood() -> None:
    clock = start(Promotion(), START)
    silent = looked(clock, at(10, 60), pod(at(10)), pod(at(10, 60), name="shop/orders-2"))
    assert silent.paused_at == at(10)
    assert looked(silent, at(30), pod(at(10)), pod(at(30), name="shop/orders-2")).promoted_at is None
    back = quiet(silent, at(30))
    assert (back.paused_at, back.quiet_since) == (None, at(20))
    assert quiet(back, at(44, -1)).promoted_at is None
    assert quiet(back, at(44)).promoted_at == at(44)


def test_a_sidecar_is_not_silent_for_a_minute() -> None:
    assert looked(start(Promotion(), START), at(10, 59), pod(at(10))).paused_at is None


def test_without_any_report_the_clock_stands_however_long() -> None:
    clock = looked(start(Promotion(), START), at(0, 60), pod(None))
    assert clock.paused_at == START
    assert looked(clock, at(1000), pod(None)).promoted_at is None


def test_plaintext_while_it_stands_leaves_nothing_of_what_was_counted() -> None:
    standing = looked(start(Promotion(), START), at(10, 60), pod(at(10)))
    seen = looked(standing, at(12), pod(at(10)), plaintext=at(11))
    assert quiet(seen, at(13)).quiet_since == at(13)


def test_a_new_pod_restarts_nothing_and_one_that_goes_neither() -> None:
    clock = looked(start(Promotion(), START), at(10), pod(at(10)), pod(None, since=at(10), name="shop/orders-2"))
    assert (clock.quiet_since, clock.paused_at) == (START, None)
    assert quiet(clock, at(24)).promoted_at == at(24)


def test_a_policy_without_pods_is_not_promoted_and_its_clock_stands() -> None:
    clock = looked(start(Promotion(), START), at(1))
    assert clock.paused_at == at(1)
    assert looked(clock, at(100)).promoted_at is None
    assert quiet(clock, at(101)).quiet_since == at(100)


def test_at_the_end_every_sidecar_that_lived_then_reports_once_more() -> None:
    clock = start(Promotion(), START)
    assert looked(clock, at(24, 5), pod(at(24, -5))).promoted_at is None
    assert looked(clock, at(24, 6), pod(at(24, 6))).promoted_at == at(24, 6)


def test_one_that_begins_after_the_end_is_not_waited_for() -> None:
    clock = start(Promotion(), START)
    newer = pod(None, since=at(24, 1), name="shop/orders-2")
    assert looked(clock, at(24, 2), pod(at(24, 2)), newer).promoted_at == at(24, 2)


def test_a_controller_that_comes_late_promotes_by_reports_of_its_own_time_alone() -> None:
    clock = start(Promotion(quiet_since=START), at(30))
    known = pod(None, since=at(30))
    assert looked(clock, at(30), known).promoted_at is None
    assert looked(clock, at(30, 5), pod(at(29), since=at(30))).promoted_at is None
    assert looked(clock, at(30, 9), pod(at(30, 8), since=at(30))).promoted_at == at(30, 9)


def test_promoted_stays_promoted_whoever_tries() -> None:
    clock = start(Promotion(START, promoted_at=at(24)), at(24))
    assert looked(clock, at(25), plaintext=at(25)) == clock
    assert next_look(clock, at(25), Sight(()), AFTER) is None


def test_parts_of_a_second_are_rounded_up() -> None:
    clock = looked(start(Promotion(), START), at(1), pod(at(1)), plaintext=at(0, 10.001))
    assert clock.quiet_since == at(0, 11)


class TestWhatIsWritten:
    def test_while_plaintext_is_seen_there_is_no_time_that_could_be_too_early(self) -> None:
        clock = looked(start(Promotion(), START), at(1), pod(at(1)), plaintext=at(1))
        assert stored(clock, at(1), AFTER) == Promotion()
        assert start(stored(clock, at(1), AFTER), at(2)).quiet_since == at(2)
        assert stored(clock, at(1) + settle_time(AFTER), AFTER) == Promotion(at(1))

    def test_quiet_time_changes_nothing(self) -> None:
        clock = start(Promotion(), START)
        assert {stored(quiet(clock, at(hours)), at(hours), AFTER) for hours in range(24)} == {Promotion(START)}

    def test_another_process_goes_on_where_this_one_stood(self) -> None:
        standing = looked(start(Promotion(), START), at(10, 60), pod(at(10)))
        other = start(stored(standing, at(11), AFTER), at(12))
        assert quiet(other, at(13)).quiet_since == at(3)


@pytest.mark.parametrize(
    ("now", "pods", "plaintext", "expected"),
    [
        (at(1), [pod(at(1))], None, at(1) + UNREPORTED_AFTER),
        (at(24, -10), [pod(at(24, -10))], None, at(24)),
        (at(24, 5), [pod(at(24, -5))], None, at(24, 55)),
        (at(1), [pod(at(1))], at(1, -590), at(1, 10)),
        (at(1), [pod(None)], None, None),
    ],
    ids=["the next silence", "the end", "a report is awaited", "plaintext has settled", "news are awaited"],
)
def test_it_wakes_when_time_alone_changes_something(
    now: datetime, pods: Sequence[PodSight], plaintext: datetime | None, expected: datetime | None
) -> None:
    sight = Sight(pods, plaintext)
    clock = step(start(Promotion(), START), now, sight, AFTER)
    assert next_look(clock, now, sight, AFTER) == expected


@dataclass
class Server:
    """A sidecar in the property test: what it served, and what of it was reported."""

    since: datetime
    reported: datetime | None = None
    plaintext: list[datetime] = field(default_factory=list)


NAMES = ("orders-1", "orders-2")


@dataclass(frozen=True)
class Move:
    """Some seconds, and what happens at their end."""

    seconds: float
    served: frozenset[str]
    """Who takes a connection in plaintext."""
    reports: frozenset[str]
    comes: str = ""
    goes: str = ""
    restart: bool = False
    """Of the controller."""


def few(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(("",) * 8 + words)


MOVES = st.lists(
    st.builds(
        Move,
        st.floats(0.1, 25),
        st.one_of(*[st.just(frozenset[str]())] * 5, st.frozensets(st.sampled_from(NAMES))),
        st.one_of(*[st.just(frozenset(NAMES))] * 2, st.frozensets(st.sampled_from(NAMES))),
        few(*NAMES),
        few(*NAMES),
        st.sampled_from((False,) * 9 + (True,)),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=200)
@given(MOVES)
def test_never_before_its_time_whatever_happens_in_whatever_order(moves: list[Move]) -> None:
    after = timedelta(minutes=1)
    now = START
    clock = start(Promotion(), now)
    servers = {NAMES[0]: Server(now)}
    known: datetime | None = None
    """The last plaintext that was reported."""
    for move in moves:
        now += timedelta(seconds=move.seconds)
        if move.comes:
            servers.setdefault(move.comes, Server(now))
        for name in move.served & servers.keys():
            servers[name].plaintext.append(now)
        for name in move.reports & servers.keys():
            servers[name].reported = now
            known = max((each for each in (known, *servers[name].plaintext) if each is not None), default=None)
        servers.pop(move.goes, None)
        if move.restart:
            clock = start(stored(clock, now, after), now)
            for each in servers.values():
                each.since = now
        sight = Sight([PodSight(name, each.since, each.reported) for name, each in servers.items()], known)
        clock = step(clock, now, sight, after)
        if clock.promoted_at is not None:
            event("promoted")
            assert servers
            assert now >= START + after
            assert known is None or now >= known + after
            served = [time for each in servers.values() for time in each.plaintext]
            due = clock.quiet_since + after
            assert not [time for time in served if clock.quiet_since < time <= due], "nor was any hidden by silence"
            return
