"""Events: said once, at a bearable pace, and never in anybody's way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from handfast_operator.cluster.client import ApiError
from handfast_operator.controller.events import BURST, MAX_WAITING, RATE, EventWriter, Regarding, about_pod
from support.memory_api import MemoryApi
from support.objects import pod
from support.virtual_time import VirtualTime

CART = about_pod(pod("shop", "cart"))
NOW = timedelta(0)


class Rig:
    def __init__(self) -> None:
        self.api, self.time = MemoryApi(), VirtualTime()
        self.writer = EventWriter(self.api, "handfast-controller-0", self.time)

    def notes(self) -> list[str]:
        return [each["note"] for each in self.api.objects.values()]


@asynccontextmanager
async def writing() -> AsyncIterator[Rig]:
    rig = Rig()
    task = asyncio.create_task(rig.writer.run())
    try:
        yield rig
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_an_event_is_about_its_object_and_stands_in_its_namespace() -> None:
    async with writing() as rig:
        rig.writer.say(CART, "Warning", "NotInjected", "the pod has no sidecar: restart it")
        await rig.time.advance(NOW)
        [(path, event)] = rig.api.objects.items()
        assert path.startswith("/apis/events.k8s.io/v1/namespaces/shop/events/cart.")
        assert event["regarding"]["uid"] == "uid-shop-cart"
        assert (event["type"], event["reason"]) == ("Warning", "NotInjected")


async def test_an_event_about_a_cluster_scoped_object_stands_where_the_api_server_wants_it() -> None:
    async with writing() as rig:
        rig.writer.say(Regarding("handfast.dev/v1alpha1", "TrustDomain", "", "cluster.local", "u"), "Warning", "R", "n")
        await rig.time.advance(NOW)
        assert [path.split("/")[5] for path in rig.api.objects] == ["default"]


async def test_a_controller_that_starts_again_does_not_say_everything_again() -> None:
    async with writing() as rig:
        rig.writer.say(CART, "Normal", "OldSidecar", "restart it")
        await rig.time.advance(NOW)
        rig.writer._said.clear()
        rig.writer.say(CART, "Normal", "OldSidecar", "restart it")
        rig.writer.say(CART, "Normal", "OldSidecar", "and this is new")
        await rig.time.advance(NOW)
        assert rig.notes() == ["restart it", "and this is new"]


async def test_the_same_event_is_said_again_after_an_hour() -> None:
    async with writing() as rig:
        for minutes in (0, 30, 31):
            await rig.time.advance(timedelta(minutes=minutes))
            rig.writer.say(CART, "Normal", "OldSidecar", "restart it")
        await rig.time.advance(NOW)
        assert len(rig.api.objects) == 2


async def test_a_thousand_events_are_written_at_a_bearable_pace() -> None:
    async with writing() as rig:
        for number in range(MAX_WAITING):
            rig.writer.say(CART, "Normal", "OldSidecar", f"note {number}")
        await rig.time.advance(timedelta(seconds=10))
        assert len(rig.api.objects) <= BURST + 10 * RATE + 1


async def test_what_was_dropped_may_be_said_again() -> None:
    async with writing() as rig:
        for number in range(MAX_WAITING + 1):
            rig.writer.say(CART, "Normal", "OldSidecar", f"note {number}")
        await rig.time.advance(timedelta(minutes=2))
        rig.writer.say(CART, "Normal", "OldSidecar", f"note {MAX_WAITING}")
        await rig.time.advance(timedelta(seconds=1))
        assert f"note {MAX_WAITING}" in rig.notes()


async def test_an_event_that_is_refused_stops_nothing() -> None:
    async with writing() as rig:
        rig.api.failures = [ApiError(403, "Forbidden", "the namespace is being terminated")]
        rig.writer.say(CART, "Normal", "A", "one")
        rig.writer.say(CART, "Normal", "B", "two")
        await rig.time.advance(timedelta(seconds=1))
        assert rig.notes() == ["two"]


async def test_a_long_note_is_cut_where_the_api_server_would_refuse_it() -> None:
    async with writing() as rig:
        rig.writer.say(CART, "Normal", "A", "ä" * 2000)
        await rig.time.advance(NOW)
        assert len(rig.notes()[0].encode()) == 1024
