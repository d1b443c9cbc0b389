"""The lab's API server on a bad day, as its clients see it."""

import aiohttp
import pytest

from lab.api.stage import CORE, Client, config_map

MAPS = f"{CORE}/configmaps"


async def test_a_server_that_is_away_breaks_connections_and_answers_again_when_it_is_back(api: Client) -> None:
    await api.create(MAPS, config_map("one"))
    async with await api.watch(MAPS, resourceVersion="0") as watched:
        await watched.next()
        await api.ask("POST", "/lab/away")
        with pytest.raises(aiohttp.ClientError):
            await watched.until_end()
        with pytest.raises(aiohttp.ClientError):
            await api.get(MAPS)
    await api.ask("POST", "/lab/back")
    assert (await api.get(MAPS)).status == 200


async def test_a_watch_from_before_a_restoration_is_cut_and_silent_when_it_is_opened_again(api: Client) -> None:
    await api.ask("POST", "/lab/save/then")
    made = await api.create(MAPS, config_map("made"))
    async with await api.watch(MAPS, resourceVersion=made.body["metadata"]["resourceVersion"]) as watched:
        await api.ask("POST", "/lab/restore/then")
        with pytest.raises(aiohttp.ClientError):
            await watched.until_end()
    assert (await api.get(f"{MAPS}/made")).status == 404
    query = {"resourceVersion": made.body["metadata"]["resourceVersion"], "timeoutSeconds": "1"}
    async with await api.watch(MAPS, **query) as watched:
        await api.create(MAPS, config_map("again"))
        assert await watched.until_end() == []


async def test_what_was_not_saved_cannot_be_restored(api: Client) -> None:
    answer = await api.ask("POST", "/lab/restore/never")
    assert (answer.status, "save/NAME" in answer.message) == (404, True)
