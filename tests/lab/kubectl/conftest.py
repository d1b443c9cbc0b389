"""A terminal for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.api.stage import CRDS, definition
from lab.kubectl.stage import Terminal, typing


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Terminal]:
    """With a custom resource."""
    async with typing(tmp_path) as terminal:
        assert (await terminal.api.create(CRDS, definition())).status == 201
        yield terminal
