"""A node agent for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.node.stage import Stage, stage


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as running:
        yield running
