"""Rounds over what lives: in portions, each in its turn, whatever happens in between."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from handfast_sidecar.traffic import live
from handfast_sidecar.traffic.audit_log import AGAIN_S, MAX_TOLD, AuditLog
from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.live import Live
from support.mesh import CLIENT_ID


@pytest.fixture(autouse=True)
def smallest_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PORTION_S", 0.0)


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)


async def test_others_have_their_turns_between_portions() -> None:
    seen: list[str] = []
    rounds = Live(lambda: ["a", "b", "c"], seen.append)
    rounds.start()
    for _ in range(3):
        asyncio.get_running_loop().call_soon(seen.append, "other")
        await asyncio.sleep(0)
    assert seen == ["a", "other", "b", "other", "c", "other"]


async def test_a_change_during_a_round_starts_over_with_what_was_not_reached() -> None:
    seen: list[str] = []
    rounds = Live(lambda: ["a", "b", "c"], seen.append)
    for _ in range(3):
        rounds.start()
        await asyncio.sleep(0)
    assert seen == ["a", "b", "c"], "so nobody waits for ever, however often the policy changes"
    await until(lambda: len(seen) == 5)
    assert seen[3:] == ["a", "b"], "who was looked at by an older policy is looked at again"


async def test_one_that_cannot_be_judged_does_not_keep_the_others_from_it() -> None:
    seen: list[int] = []
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
    Live(lambda: [0, 1], lambda each: seen.append(1 // each)).start()
    await until(lambda: seen)
    assert isinstance(failures[0], ZeroDivisionError)


async def test_a_round_begins_by_itself_when_a_verdict_is_due_to_change() -> None:
    seen: list[int] = []
    now, end = 1000.0, 1000.01

    def clock() -> float:
        return now

    rounds = Live(lambda: [1], seen.append, next_end=lambda at: end if at < end else None, clock=clock)
    rounds.start()
    await until(lambda: seen)
    now = end
    await until(lambda: len(seen) == 2)
    assert rounds._end_due is None, "nothing else ends"


async def test_a_clock_that_goes_slower_than_ours_is_waited_for() -> None:
    seen: list[int] = []
    now, reads = 1000.0, 0

    def clock() -> float:
        nonlocal reads
        reads += 1
        return now

    rounds = Live(lambda: [1], seen.append, next_end=lambda at: 1000.01 if at < 1000.01 else None, clock=clock)
    rounds.start()
    await until(lambda: reads == 3)
    assert seen == [1], "the timer came, and by the wall clock it was too early"
    now = 1001.0
    await until(lambda: len(seen) == 2)


def test_of_who_would_be_refused_the_log_tells_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    audits = AuditLog(lambda: now)
    first = Connection("in", "10.0.0.1", 1, "10.0.0.2", 80, peer=CLIENT_ID, audited="denied", rule="p", detail="why")
    other_port = Connection("in", "10.0.0.1", 1, "10.0.0.2", 81, peer=CLIENT_ID, audited="denied")
    for each in (first, first, other_port):
        audits.tell(each)
    assert [each.__dict__["port"] for each in caplog.records] == [80, 81]
    said = caplog.records[0].__dict__
    assert caplog.records[0].levelno == logging.WARNING
    assert (said["peer"], said["reason"], said["rule"], said["detail"]) == (str(CLIENT_ID), "denied", "p", "why")
    now = AGAIN_S
    audits.tell(first)
    assert len(caplog.records) == 3


def test_whoever_comes_from_many_addresses_fills_neither_log_nor_memory(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    audits = AuditLog(lambda: now)
    for number in range(MAX_TOLD + 100):
        audits.tell(
            Connection("in", f"10.0.{number >> 8}.{number & 255}", 1, "10.0.0.2", 80, audited="plaintext_refused")
        )
    assert (len(caplog.records), len(audits._told)) == (MAX_TOLD, MAX_TOLD)
    now = AGAIN_S
    audits.tell(Connection("in", "10.1.0.1", 1, "10.0.0.2", 80, audited="plaintext_refused"))
    assert (len(caplog.records), len(audits._told)) == (MAX_TOLD + 1, 1)
