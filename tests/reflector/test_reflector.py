"""The reflector on good and bad days, against a server that does as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from handfast_operator.cluster.kinds import CONFIG_MAPS, SECRETS_META, Kind
from handfast_operator.cluster.objects import Key
from handfast_operator.cluster.reflector import BLIND, Reflector, backoff
from handfast_operator.cluster.store import Store
from support.api_server import GONE, ApiServer, Watch, api_server, config_map


@dataclass(frozen=True)
class Thing:
    key: Key
    resource_version: int
    content: str = ""


def parse(raw: Any) -> Thing:
    meta = raw["metadata"]
    if meta["name"] == "unreadable":
        raise ValueError("no such mode")
    return Thing((meta["namespace"], meta["name"]), int(meta["resourceVersion"]), raw.get("content", ""))


@dataclass
class Rig:
    server: ApiServer
    reflector: Reflector[Thing]
    store: Store[Thing]
    told: "asyncio.Queue[tuple[str, str]]" = field(default_factory=asyncio.Queue)
    pauses: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    """`fresh_at` at each pause."""
    backs: list[str] = field(default_factory=list)
    """How often history went back, by kind."""

    def names(self) -> set[str]:
        return {thing.key[1] for thing in self.store}

    def hear(self, before: Thing | None, after: Thing | None) -> None:
        verb = "added" if before is None else "removed" if after is None else "changed"
        thing = after or before
        assert thing is not None
        self.told.put_nowait((verb, thing.key[1]))

    async def watch(self) -> Watch:
        return await self.server.watch()


@asynccontextmanager
async def following(*names: str, kind: Kind = CONFIG_MAPS, **script: Any) -> AsyncIterator[Rig]:
    """A reflector of a collection that begins with these objects."""
    async with api_server() as (server, client):
        server.items = [config_map(name, 1) for name in names]
        for name, value in script.items():
            setattr(server, name, value)
        pauses: list[float] = []
        ages: list[float] = []
        backs: list[str] = []

        async def pause(seconds: float) -> None:
            pauses.append(seconds)
            ages.append(reflector.fresh_at)
            await asyncio.sleep(0)

        store = Store[Thing]()
        reflector = Reflector(
            client, kind, store, parse, went_back=lambda plural, _before: backs.append(plural), pause=pause
        )
        rig = Rig(server, reflector, store, pauses=pauses, ages=ages, backs=backs)
        store.subscribe(rig.hear)
        task = asyncio.create_task(reflector.run())
        try:
            yield rig
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_the_store_has_the_whole_list_before_anybody_is_told_that_it_is_complete() -> None:
    async with following("a", "b") as rig:
        await rig.reflector.wait_synced()
        assert rig.names() == {"a", "b"}
        assert rig.store.synced


async def test_a_long_list_is_read_in_pages() -> None:
    names = [f"n{number}" for number in range(1100)]
    async with following(*names) as rig:
        await rig.reflector.wait_synced()
        assert rig.names() == set(names)
        assert [query.get("continue") for query in rig.server.lists] == [None, "500", "1000"]


async def test_a_list_that_expires_between_two_pages_begins_anew() -> None:
    names = [f"n{number}" for number in range(600)]
    async with following(*names, refuse_lists=[None, GONE]) as rig:
        await rig.reflector.wait_synced()
        assert rig.names() == set(names)
        assert [query.get("continue") for query in rig.server.lists] == [None, "500", None, "500"]


async def test_events_reach_the_store_in_their_order() -> None:
    async with following("a") as rig:
        watch = await rig.watch()
        watch.event("ADDED", config_map("b", 2))
        watch.event("MODIFIED", config_map("b", 3))
        watch.event("DELETED", config_map("a", 4))
        said = [await rig.told.get() for _ in range(4)]
        assert said == [("added", "a"), ("added", "b"), ("changed", "b"), ("removed", "a")]
        assert rig.names() == {"b"}


async def test_the_watch_begins_where_the_list_ended_and_asks_for_bookmarks() -> None:
    async with following("a", version=77) as rig:
        query = (await rig.watch()).query
        assert (query["resourceVersion"], query["allowWatchBookmarks"], query["timeoutSeconds"]) == (
            "77",
            "true",
            "290",
        )


async def test_a_watch_that_ends_goes_on_from_its_last_bookmark_without_a_list() -> None:
    async with following("a") as rig:
        first = await rig.watch()
        first.bookmark(90)
        first.end()
        assert (await rig.watch()).query["resourceVersion"] == "90"
        assert len(rig.server.lists) == 1
        assert rig.store.revision == 90


async def test_a_history_that_went_back_is_met_by_a_list_although_its_watch_would_be_silent() -> None:
    """etcd restored from a copy: the server takes a watch from a revision that is yet to come, and says nothing."""
    async with following("kept", "undone") as rig:
        first = await rig.watch()
        assert {await rig.told.get(), await rig.told.get()} == {("added", "kept"), ("added", "undone")}
        first.bookmark(900)
        rig.server.items, rig.server.version, rig.server.went_back = [config_map("kept", 1)], 500, True
        first.end()
        assert await rig.told.get() == ("removed", "undone")
        assert (await rig.watch()).query["resourceVersion"] == "500"
        assert (rig.store.revision, rig.backs) == (500, ["configmaps"])


async def test_an_object_that_is_older_than_it_was_shows_a_restored_server_whose_revisions_were_raised() -> None:
    """`etcdutl snapshot restore --bump-revision`, as etcd advises: the list is newer, what is in it is not."""
    async with following() as rig:
        rig.server.items = [config_map("a", 700)]
        rig.server.version = 900
        first = await rig.watch()
        first.event("MODIFIED", config_map("a", 910))
        rig.server.items, rig.server.version = [config_map("a", 700)], 1_000_000
        first.error(*GONE)
        assert (await rig.watch()).query["resourceVersion"] == "1000000"
        assert [thing.resource_version for thing in rig.store] == [700]
        assert rig.backs == ["configmaps"]


async def test_a_version_that_was_given_to_something_else_before_is_news_all_the_same() -> None:
    async with following() as rig:
        rig.server.items = [config_map("a", 7, content="lost")]
        first = await rig.watch()
        first.bookmark(9)
        rig.server.items, rig.server.version, rig.server.went_back = [config_map("a", 7, content="now")], 8, True
        first.end()
        await rig.watch()
        assert [thing.content for thing in rig.store] == ["now"]


async def test_who_could_not_reach_the_server_for_a_while_lists_anew() -> None:
    """A restored server may meanwhile have come to where we were, by another way."""
    async with following("a") as rig:
        first = await rig.watch()
        rig.server.items = [config_map("b", 1)]
        rig.server.drop = 2 * BLIND  # aiohttp asks once more where a connection breaks that it had used before
        first.end()
        await rig.watch()
        assert rig.names() == {"b"}


async def test_an_ordinary_list_says_nothing_of_a_history_that_went_back() -> None:
    async with following("a") as rig:
        first = await rig.watch()
        rig.server.items, rig.server.version = [config_map("a", 1), config_map("b", 90)], 95
        first.error(*GONE)
        await rig.watch()
        assert rig.backs == []


@pytest.mark.parametrize("in_stream", [True, False])
async def test_a_version_that_is_gone_is_met_by_a_list_whose_difference_is_told(in_stream: bool) -> None:
    async with following("kept", "lost") as rig:
        first = await rig.watch()
        assert {await rig.told.get(), await rig.told.get()} == {("added", "kept"), ("added", "lost")}
        rig.server.items, rig.server.version = [config_map("kept", 1), config_map("new", 50)], 50
        if in_stream:
            first.error(*GONE)
        else:
            rig.server.refuse_watches = [GONE]
            first.bookmark(2)
            first.end()
        assert {await rig.told.get(), await rig.told.get()} == {("removed", "lost"), ("added", "new")}
        assert (await rig.watch()).query["resourceVersion"] == "50"
        assert rig.told.empty()


async def test_versions_that_are_always_gone_do_not_make_a_storm_of_lists() -> None:
    async with following("a", refuse_watches=[GONE] * 4) as rig:
        await rig.watch()
        assert len(rig.server.lists) == 5
        assert len(rig.pauses) == 3


async def test_errors_are_met_with_growing_pauses_and_the_store_keeps_what_it_has() -> None:
    refused = (500, "InternalError", "etcd is away")
    async with following("a") as rig:
        first = await rig.watch()
        rig.server.refuse_watches = [refused] * 6
        first.bookmark(2)
        first.end()
        await rig.watch()
        assert rig.names() == {"a"}
        assert len(rig.pauses) == 6
        assert rig.pauses[5] > rig.pauses[0]


async def test_a_watch_that_ends_at_once_every_time_is_no_busy_loop() -> None:
    async with following("a") as rig:
        for _ in range(3):
            (await rig.watch()).end()
        await rig.watch()
        assert len(rig.pauses) == 3


async def test_a_torn_line_is_an_error_and_not_an_event() -> None:
    async with following("a") as rig:
        watch = await rig.watch()
        watch.says.put_nowait(b'{"type": "ADDED", "obj\n')
        await rig.watch()
        assert rig.names() == {"a"}
        assert len(rig.pauses) == 1


async def test_an_object_that_cannot_be_read_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async with following("a", "unreadable") as rig:
        watch = await rig.watch()
        watch.event("ADDED", config_map("unreadable", 3))
        watch.event("ADDED", config_map("b", 4))
        assert [(await rig.told.get())[1] for _ in range(2)] == ["a", "b"]
        assert rig.store.revision == 4
    assert "an object is not understood, what is known of it stays" in caplog.messages


async def test_secrets_are_asked_for_by_label_and_without_their_data() -> None:
    async with following("a", kind=SECRETS_META) as rig:
        watch = await rig.watch()
        assert "as=PartialObjectMetadataList" in rig.server.accepts[0]
        assert "as=PartialObjectMetadata;" in watch.accept
        assert rig.server.lists[0]["labelSelector"] == watch.query["labelSelector"] == "handfast.dev/identity=true"


async def test_every_word_of_the_server_is_a_sign_of_life() -> None:
    async with following("a") as rig:
        watch = await rig.watch()
        rig.reflector.fresh_at = 0.0
        watch.event("ADDED", config_map("b", 2))
        await rig.told.get()
        await rig.told.get()
        assert rig.reflector.fresh_at > 0


async def test_a_watch_that_is_accepted_is_a_sign_of_life() -> None:
    """A quiet collection may have nothing to say, and no bookmark, for longer than its readers' patience."""
    async with following("a") as rig:
        first = await rig.watch()
        first.bookmark(2)
        first.end()
        rig.reflector.fresh_at = 0.0
        await rig.watch()
        assert rig.reflector.fresh_at > 0


async def test_a_refusal_is_an_answer_and_no_news() -> None:
    """A role that may not list, or whose custom resources are gone, is not helped by a restart."""
    refused = (403, "Forbidden", "no permission")
    async with following("a", refuse_lists=[refused, refused]) as rig:
        born = rig.reflector.fresh_at
        await rig.watch()
        assert rig.ages[0] == born < rig.reflector.answered_at


async def test_a_silent_watch_is_opened_again_without_a_fuss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handfast_operator.cluster.client.WATCH_SILENCE_S", 0.05)
    async with following("a") as rig:
        await rig.watch()
        await rig.watch()
        assert rig.pauses == []
        assert len(rig.server.lists) == 1


def test_the_pause_grows_and_has_an_end() -> None:
    assert backoff(1) <= 0.2
    assert all(7.5 <= backoff(failures) <= 15 for failures in (8, 100, 10_000))
