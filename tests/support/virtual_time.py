"""A clock that a test turns by hand: timers fire in order, and nothing waits for real."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class VirtualTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualTime:
    """`controller.timing.Time` without a system behind it."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._order = count()
        self._timers: list[tuple[datetime, int, VirtualTimer]] = []

    def now(self) -> datetime:
        return self._now

    def call_at(self, when: datetime, callback: Callable[[], object]) -> VirtualTimer:
        timer = VirtualTimer(callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    async def advance(self, delta: timedelta) -> None:
        """Let that much time pass, and everything happen that is due."""
        end = self._now + delta
        await settle()
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                self._now = max(self._now, when)
                timer.callback()
                await settle()
        self._now = end


async def settle() -> None:
    """Until nothing is left to run that waits for no timer and no socket."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    quiet = 0
    while quiet < 2:
        await asyncio.sleep(0)
        quiet = 0 if ready else quiet + 1
