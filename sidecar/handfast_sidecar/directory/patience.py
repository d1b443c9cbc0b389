"""How long a sidecar without a directory waits: before its next attempt to connect, and within one.

The one rule: a fleet that lost its directory does not return at once, but who waits for an answer is not kept waiting
by a back-off.
"""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from typing import Final

from handfast_sidecar.directory.stream import CONNECT_S

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 10.0
URGENT_S: Final = 0.5
"""Longest pause while a connection waits for an answer: it is held for seconds, not for a whole back-off."""
HURRY_S: Final = 1.0
"""Seconds for an attempt to connect while a connection waits, doubled when two have failed: a lost node answers
nothing, and Kubernetes goes on naming its replica for most of a minute."""


class Patience:
    """Knows whether somebody waits."""

    def __init__(self) -> None:
        self._waiting = 0
        """Callers that still wait."""
        self._urgent = asyncio.Event()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """In the block somebody waits for an answer."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def urge(self) -> None:
        """There is a reason to connect soon."""
        self._urgent.set()

    async def pause(self, failures: int) -> None:
        """Between two attempts, after so many failures in a row."""
        delay_s = backoff_s(failures)
        self._urgent.clear()
        if self._waiting:
            delay_s = min(delay_s, URGENT_S)
        try:
            async with asyncio.timeout(delay_s):
                await self._urgent.wait()
                await asyncio.sleep(random.uniform(0, URGENT_S))  # noqa: S311 - jitter, not a secret
        except TimeoutError:
            return

    async def ends(self, failures: int) -> None:
        """Returns HURRY_S, or more, after somebody begins to wait."""
        if not self._waiting:
            self._urgent.clear()
            await self._urgent.wait()
        await asyncio.sleep(min(CONNECT_S, HURRY_S * 2 ** min(max(failures - 1, 0), 10)))


def backoff_s(failures: int) -> float:
    """Seconds before the next attempt: exponential, with full jitter, so that a fleet does not return at once."""
    return random.uniform(0, min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures, 10)))  # noqa: S311 - jitter
