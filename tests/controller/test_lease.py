"""Who leads, and who stops: two controllers, one Lease, a clock that the test turns."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.kinds import LEASES
from handfast_operator.controller.lease import DURATION_S, LEASE_NAME, Election, LeaseLost, Seen, may_take, observe
from support.memory_api import MemoryApi

World = Callable[[], Any]
PATH = LEASES.item("handfast-system", LEASE_NAME)


class Turned:
    """A clock that only pauses turn; `then` is what the world does meanwhile."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.then: list[World] = []

    def monotonic(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.now += seconds
        if self.then:
            self.then.pop(0)()
        await asyncio.sleep(0)


def election(api: MemoryApi, me: str, clock: Turned) -> Election:
    return Election(api, "handfast-system", me, monotonic=clock.monotonic, pause=clock.pause)


def holder(api: MemoryApi) -> str:
    return str(api.objects[PATH]["spec"]["holderIdentity"])


async def test_the_first_controller_makes_the_lease_and_leads() -> None:
    api = MemoryApi()
    first = election(api, "a", Turned())
    await first.acquire()
    assert first.leading
    assert holder(api) == "a"


async def test_a_silent_holder_is_followed_after_the_lease_has_run_out_and_not_before() -> None:
    api, clock = MemoryApi(), Turned()
    await election(api, "a", Turned()).acquire()
    second = election(api, "b", clock)
    await second.acquire()
    assert holder(api) == "b"
    assert DURATION_S < clock.now - 1000 <= DURATION_S + 2
    assert api.objects[PATH]["spec"]["leaseTransitions"] == 2


async def test_a_lease_that_was_given_back_is_taken_at_once() -> None:
    api, clock = MemoryApi(), Turned()
    first = election(api, "a", Turned())
    await first.acquire()
    await first.release()
    await election(api, "b", clock).acquire()
    assert clock.now == 1000


async def test_a_controller_that_starts_again_under_its_name_leads_at_once() -> None:
    api, clock = MemoryApi(), Turned()
    await election(api, "a", Turned()).acquire()
    await election(api, "a", clock).acquire()
    assert clock.now == 1000


async def test_a_holder_that_cannot_renew_stops_before_another_may_begin() -> None:
    api, clock = MemoryApi(), Turned()
    first = election(api, "a", clock)
    await first.acquire()
    api.failures = [ApiError(500, "InternalError", "etcd is away")] * 100
    with pytest.raises(LeaseLost, match="could not be renewed for 10 s"):
        await first.keep()
    assert clock.now - 1000 < DURATION_S
    assert not first.leading


async def test_a_holder_that_finds_another_in_its_lease_stops() -> None:
    api, clock = MemoryApi(), Turned()
    first = election(api, "a", clock)
    await first.acquire()
    stolen = api.objects[PATH] | {"spec": {"holderIdentity": "b", "renewTime": "later"}}
    clock.then = [lambda: api.put(PATH, stolen)]
    with pytest.raises(LeaseLost, match="held by b"):
        await first.keep()
    assert holder(api) == "b"


async def test_a_conflict_is_looked_at_again_and_is_no_loss() -> None:
    api, clock = MemoryApi(), Turned()
    first = election(api, "a", clock)
    await first.acquire()
    task = asyncio.current_task()
    assert task is not None
    api.failures = [ApiError(409, "Conflict", "somebody annotated it")]
    clock.then = [lambda: None, lambda: None, task.cancel]
    with pytest.raises(asyncio.CancelledError):
        await first.keep()
    task.uncancel()
    assert api.count("replace") == 2


async def test_releasing_does_not_touch_the_lease_of_another() -> None:
    api = MemoryApi()
    await election(api, "a", Turned()).acquire()
    await election(api, "b", Turned()).release()
    assert holder(api) == "a"


def test_an_unchanged_lease_is_counted_from_when_it_was_first_seen() -> None:
    first = observe(None, "a", "t1", 10)
    assert observe(first, "a", "t1", 20) == first
    assert observe(first, "a", "t2", 20) == Seen("a", "t2", 20)
    assert not may_take(first, "b", 25)
    assert may_take(first, "b", 25.1)
