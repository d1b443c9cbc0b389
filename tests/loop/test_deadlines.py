"""Deadlines of one length: who is late is told once, in order, and who ended in time never."""

import asyncio

from handfast_sidecar.loop.deadlines import Deadlines

TIMEOUT_S = 0.05


class Late:
    """What was called, and when the last one was."""

    def __init__(self, expected: int) -> None:
        self.called: list[int] = []
        self.over = asyncio.Event()
        self._expected = expected

    def say(self, number: int) -> None:
        self.called.append(number)
        if len(self.called) == self._expected:
            self.over.set()

    async def all(self) -> list[int]:
        await asyncio.wait_for(self.over.wait(), 5)
        return self.called


async def test_who_is_late_is_told_in_the_order_of_joining() -> None:
    late, deadlines = Late(3), Deadlines(TIMEOUT_S)
    for number in range(3):
        deadlines.add(lambda number=number: late.say(number))  # type: ignore[misc]
    assert await late.all() == [0, 1, 2]


async def test_it_is_told_when_the_time_is_over_and_not_before() -> None:
    loop, late, deadlines = asyncio.get_running_loop(), Late(1), Deadlines(TIMEOUT_S)
    started = loop.time()
    deadlines.add(lambda: late.say(0))
    await late.all()
    assert loop.time() - started >= TIMEOUT_S


async def test_who_is_late_is_told_once() -> None:
    late, last, deadlines = Late(1), Late(1), Deadlines(TIMEOUT_S)
    deadlines.add(lambda: late.say(0))
    await late.all()
    deadlines.add(lambda: last.say(1))
    await last.all()
    assert late.called == [0]


async def test_who_ended_in_time_is_never_told() -> None:
    ended, late, deadlines = Late(1), Late(1), Deadlines(TIMEOUT_S)

    def in_time() -> None:
        ended.say(0)

    deadlines.add(in_time)
    deadlines.add(lambda: late.say(1))
    deadlines.discard(in_time)
    deadlines.discard(in_time)
    assert await late.all() == [1]
    assert ended.called == []


async def test_who_is_late_may_add_and_discard_others() -> None:
    late, deadlines = Late(2), Deadlines(TIMEOUT_S)

    def discarded() -> None:
        late.say(-1)

    def first() -> None:
        late.say(0)
        deadlines.discard(discarded)
        deadlines.add(lambda: late.say(1))

    deadlines.add(first)
    deadlines.add(discarded)
    assert await late.all() == [0, 1]


async def test_one_that_begins_anew_comes_after_those_that_wait_already() -> None:
    late, deadlines = Late(2), Deadlines(TIMEOUT_S)

    def anew() -> None:
        late.say(0)

    deadlines.add(anew)
    deadlines.add(lambda: late.say(1))
    deadlines.discard(anew)
    deadlines.add(anew)
    assert await late.all() == [1, 0]
