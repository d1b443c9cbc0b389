"""The token bucket keeps its pace, and the real clock rings."""

import asyncio
from datetime import timedelta

import pytest

from handfast_operator.controller.timing import (
    LONGEST_HOLD,
    SLOW,
    Allowance,
    SystemTime,
    TokenBucket,
    Window,
    wait_until,
)
from support.virtual_time import VirtualTime


async def test_a_burst_passes_and_then_the_rate_holds() -> None:
    time = VirtualTime()
    bucket = TokenBucket(rate=10, burst=5, time=time)
    taken: list[int] = []

    async def take(number: int) -> None:
        await bucket.take()
        taken.append(number)

    tasks = [asyncio.ensure_future(take(number)) for number in range(25)]
    await time.advance(timedelta(0))
    assert taken == list(range(5))
    await time.advance(timedelta(seconds=1))
    assert taken == list(range(15))
    await time.advance(timedelta(seconds=1))
    await asyncio.gather(*tasks)
    assert taken == list(range(25))


async def test_a_quiet_time_saves_no_more_than_a_burst() -> None:
    time = VirtualTime()
    bucket = TokenBucket(rate=10, burst=2, time=time)
    await time.advance(timedelta(hours=1))
    await bucket.take()
    await bucket.take()
    third = asyncio.ensure_future(bucket.take())
    await time.advance(timedelta(milliseconds=50))
    assert not third.done()
    await time.advance(timedelta(milliseconds=50))
    assert third.done()


async def test_nobody_passes_while_the_server_asks_to_be_left_alone() -> None:
    time = VirtualTime()
    bucket = TokenBucket(rate=10, burst=5, time=time)
    bucket.hold(timedelta(seconds=1))
    tasks = [asyncio.ensure_future(bucket.take()) for _ in range(3)]
    await time.advance(timedelta(milliseconds=500))
    bucket.hold(timedelta(seconds=1))
    await time.advance(timedelta(milliseconds=900))
    assert not any(each.done() for each in tasks)
    await time.advance(timedelta(milliseconds=100))
    await asyncio.gather(*tasks)


async def test_no_server_can_stop_us_for_long() -> None:
    time = VirtualTime()
    bucket = TokenBucket(rate=10, burst=5, time=time)
    bucket.hold(timedelta(hours=1))
    waiting = asyncio.ensure_future(bucket.take())
    await time.advance(LONGEST_HOLD)
    await waiting


async def _calls(window: Window, time: VirtualTime, count: int, takes: timedelta) -> int:
    """Make calls, all of them at once if they may; the most that were under way."""
    under_way = most = 0

    async def one() -> None:
        nonlocal under_way, most
        async with window.call():
            under_way += 1
            most = max(most, under_way)
            await wait_until(time, time.now() + takes)
            under_way -= 1

    tasks = [asyncio.ensure_future(one()) for _ in range(count)]
    await time.advance(takes * count)
    await asyncio.gather(*tasks)
    return most


async def test_a_slow_server_is_asked_less_at_once_and_a_quick_one_more_again() -> None:
    time = VirtualTime()
    window = Window(24, time)
    quick, slow = timedelta(milliseconds=50), SLOW + timedelta(milliseconds=50)
    assert await _calls(window, time, 100, quick) == 24
    await _calls(window, time, 24, slow)
    assert window.width == 12  # of calls that were made together one counts
    await _calls(window, time, 100, slow)
    assert window.width == 1
    assert await _calls(window, time, 3, slow) == 1
    await _calls(window, time, 400, quick)
    assert window.width == 24


async def test_a_call_that_fails_or_is_cancelled_gives_its_place_back() -> None:
    time = VirtualTime()
    window = Window(1, time)
    with pytest.raises(ValueError, match="no"):
        async with window.call():
            raise ValueError("no")
    holder, waiting = (asyncio.ensure_future(_hold(window)) for _ in range(2))
    await asyncio.sleep(0)
    for each in (waiting, holder):
        each.cancel()
    await asyncio.gather(holder, waiting, return_exceptions=True)
    async with asyncio.timeout(1), window.call():
        pass


async def test_who_waits_for_a_place_is_never_overtaken_or_forgotten() -> None:
    time = VirtualTime()
    window = Window(3, time)
    while window.width > 1:
        await _calls(window, time, 3, 2 * SLOW)
    order: list[str] = []

    async def worker(name: str, calls: int) -> None:
        for _ in range(calls):
            async with window.call():  # the next one begins at once: as with a queue that is never empty
                order.append(name)
                await wait_until(time, time.now() + 2 * SLOW)

    workers = [asyncio.ensure_future(worker(name, 3)) for name in "abcd"]
    await time.advance(2 * SLOW * 12)
    await asyncio.gather(*workers)
    assert "".join(order) == "abcd" * 3


async def test_a_place_that_was_given_to_one_who_gave_up_goes_to_the_next() -> None:
    window = Window(1, VirtualTime())
    order: list[int] = []

    async def one(number: int) -> None:
        async with window.call():
            order.append(number)

    async with asyncio.timeout(1):
        async with window.call():
            waiting = [asyncio.ensure_future(one(number)) for number in range(4)]
            await asyncio.sleep(0)
            waiting[1].cancel()  # while it waits
        waiting[0].cancel()  # when it has its place, and has not heard of it
        await asyncio.gather(*waiting, return_exceptions=True)
        assert order == [2, 3]
        async with window.call():
            pass


async def _hold(window: Window) -> None:
    async with window.call():
        await asyncio.Event().wait()


async def test_the_real_clock_rings() -> None:
    time = SystemTime()
    await wait_until(time, time.now() - timedelta(seconds=1))


async def test_each_key_has_its_own_allowance() -> None:
    time = VirtualTime()
    allowance: Allowance[str] = Allowance(time, actions=2, window=timedelta(minutes=1))
    assert [allowance.take("a") for _ in range(3)] == [None, None, time.now() + timedelta(minutes=1)]
    assert allowance.take("b") is None
    await time.advance(timedelta(minutes=1))
    assert allowance.take("a") is None
