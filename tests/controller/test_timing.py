"""The token bucket keeps its pace, and the real clock rings."""

import asyncio
from datetime import timedelta

from handfast_operator.controller.timing import Allowance, SystemTime, TokenBucket, wait_until
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
