"""A server for each test."""

from collections.abc import AsyncIterator

import pytest

from lab.api.stage import CRDS, Client, definition, serving


@pytest.fixture
async def api() -> AsyncIterator[Client]:
    async with serving() as client:
        yield client


@pytest.fixture
async def things(api: Client) -> Client:
    """With a custom resource."""
    assert (await api.create(CRDS, definition())).status == 201
    return api
