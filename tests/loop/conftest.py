"""Each test of the loop runs twice: in the proxy's own loop, and as a guest in a foreign one."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from handfast_sidecar.loop.poller import new_event_loop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What pytest-asyncio makes the loops with."""
    return {"own": new_event_loop, "guest": asyncio.new_event_loop}
