"""Grants end by the time of day, in the process that compiles policies."""

from collections.abc import Callable
from datetime import datetime, timedelta

from handfast_operator.cluster.store import Store
from handfast_operator.controller.expiry import MOST, Expiry
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.access import AccessGrant
from handfast_operator.resources.times import format_time
from support.access import grant
from support.virtual_time import START, VirtualTime, VirtualTimer


class Watched(VirtualTime):
    """Remembers how long it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[timedelta] = []

    def call_at(self, when: datetime, callback: Callable[[], object]) -> VirtualTimer:
        self.waits.append(when - self.now())
        return super().call_at(when, callback)


class World:
    def __init__(self) -> None:
        self.time = Watched()
        self.grants = Store[AccessGrant]()
        self.index = PolicyIndex(
            Store(), Store(), Store(), Store(), "cluster.local", self.grants, lambda: self.time.now().timestamp()
        )
        self.expiry = Expiry(self.index, self.grants, self.time)
        self.told = 0
        self.expiry.subscribe(self._tell)

    def _tell(self) -> None:
        self.told += 1

    def put(self, name: str, after: timedelta) -> None:
        self.grants.put(grant(name, expiresAt=format_time(START + after)))


async def test_each_grant_ends_at_its_time_and_not_before() -> None:
    world = World()
    world.put("long", timedelta(hours=3))
    world.put("short", timedelta(minutes=5))
    await world.time.advance(timedelta(minutes=5) - timedelta(milliseconds=1))
    assert (world.told, world.index.next_expiry) == (0, int((START + timedelta(minutes=5)).timestamp()))
    await world.time.advance(timedelta(milliseconds=1))
    assert (world.told, world.index.next_expiry) == (1, int((START + timedelta(hours=3)).timestamp()))
    await world.time.advance(timedelta(hours=3))
    assert (world.told, world.index.next_expiry) == (2, None)


async def test_a_grant_that_is_deleted_leaves_nothing_to_wait_for() -> None:
    world = World()
    world.put("g", timedelta(minutes=5))
    world.grants.remove(("shop", "g"), 999)
    await world.time.advance(timedelta(hours=1))
    assert world.told == 0


async def test_no_wait_is_so_long_that_a_clock_which_is_set_prolongs_a_grant() -> None:
    """An event loop's timers count seconds, whatever becomes of the time of day."""
    world = World()
    world.put("g", timedelta(days=300))
    await world.time.advance(timedelta(hours=1))
    assert max(world.time.waits) == MOST
    assert world.told == 0


async def test_a_grant_for_nine_thousand_years_is_no_trouble() -> None:
    world = World()
    world.grants.put(grant(expiresAt="9999-12-31T23:59:59Z"))
    await world.time.advance(timedelta(hours=1))
    assert world.told == 0
