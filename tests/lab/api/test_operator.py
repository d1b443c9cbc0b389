"""The operator's own client against the lab's API server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from handfast_operator.cluster.access import Access
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import CONFIG_MAPS, SECRETS, SECRETS_META
from handfast_operator.cluster.objects import SecretMeta, parse_secret_meta
from handfast_operator.cluster.reflector import Reflector
from handfast_operator.cluster.store import Store
from lab.api.stage import Client, Json, config_map, secret


@pytest.fixture
async def client(api: Client) -> AsyncIterator[ApiClient]:
    async with ApiClient.connect(Access(str(api.session._base_url).rstrip("/"), None)) as client:
        yield client


def identity(name: str, **data: str) -> Json:
    return secret(name, data=data) | {"metadata": {"name": name, "labels": {"handfast.dev/identity": "true"}}}


async def test_a_reflector_follows_metadata_and_who_wrote_it(client: ApiClient) -> None:
    await client.create(SECRETS.within("default"), identity("one", a="YQ=="))
    store: Store[SecretMeta] = Store()
    reflector = Reflector(client, SECRETS_META, store, parse_secret_meta)
    following = asyncio.create_task(reflector.run())
    await reflector.wait_synced()
    assert [each.name for each in store] == ["one"]
    seen: asyncio.Queue[SecretMeta | None] = asyncio.Queue()
    store.subscribe(lambda _, after: seen.put_nowait(after))
    await client.create(SECRETS.within("default"), identity("two", b="Yg=="))
    async with asyncio.timeout(5):
        told = [await seen.get() for _ in range(2)]
    assert [(each.name, each.managers, each.data_keys) for each in told if each] == [
        ("one", ("handfast-controller",), ("a",)),
        ("two", ("handfast-controller",), ("b",)),
    ]
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


async def test_a_refusal_is_an_error_with_the_servers_words(client: ApiClient) -> None:
    path = CONFIG_MAPS.within("default")
    made = await client.create(path, config_map("one"))
    with pytest.raises(ApiError) as refused:
        await client.create(path, config_map("one"))
    assert (refused.value.status, refused.value.reason) == (409, "AlreadyExists")
    await client.delete(f"{path}/one", uid=made["metadata"]["uid"])
    await client.delete(f"{path}/one")
