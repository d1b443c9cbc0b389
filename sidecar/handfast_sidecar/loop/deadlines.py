"""Deadlines of one length for things that nearly always end in time: one timer for all of them.

The first that was added is the first that is due, so an ordered table is enough, and adding and taking away cost a
dictionary's entry, where a timer each would cost more than what it guards.
"""

import asyncio
from collections.abc import Callable


class Deadlines:
    """Calls what was added, `timeout_s` seconds later and at most a quarter of that late, unless it was taken away."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._due: dict[Callable[[], None], float] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, late: Callable[[], None]) -> None:
        """Call `late` unless it is discarded in time."""
        self._due[late] = self._loop.time() + self._timeout_s
        if self._timer is None:
            self._arm()

    def discard(self, late: Callable[[], None]) -> None:
        """It ended in time; one that is not waited for is no error."""
        self._due.pop(late, None)

    def _arm(self) -> None:
        self._timer = self._loop.call_later(self._timeout_s / 4, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._due:
            late, due = next(iter(self._due.items()))
            if due > now:
                self._arm()
                return
            del self._due[late]
            late()
