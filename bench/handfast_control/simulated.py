"""A clock that stands still until nobody has anything to do, and then jumps to the next alarm."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class _Alarm:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class SimulatedTime:
    """As the operator's parts ask for the time (`controller.timing.Time`)."""

    def __init__(self) -> None:
        self._now = START
        self._alarms: list[tuple[datetime, int, _Alarm]] = []
        self._numbers = count()

    def now(self) -> datetime:
        return self._now

    @property
    def elapsed_s(self) -> float:
        """Since the simulation began."""
        return (self._now - START).total_seconds()

    def call_at(self, when: datetime, callback: Callable[[], object]) -> _Alarm:
        alarm = _Alarm(callback)
        heapq.heappush(self._alarms, (max(when, self._now), next(self._numbers), alarm))
        return alarm

    async def run(self, until: timedelta, idle: Callable[[], bool]) -> None:
        """Let time pass up to `until` after the start; `idle` says whether everybody waits for an alarm."""
        end = START + until
        while self._alarms and self._alarms[0][0] <= end:
            self._now = self._alarms[0][0]
            while self._alarms and self._alarms[0][0] <= self._now:
                alarm = heapq.heappop(self._alarms)[2]
                if alarm.callback is not None:
                    alarm.callback()
            await asyncio.sleep(0)
            while not idle():  # noqa: ASYNC110 - tasks run to their next await, and none of them tells
                await asyncio.sleep(0)
        self._now = max(self._now, end)
