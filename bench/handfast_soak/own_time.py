"""An event loop whose clock stands still while its process does.

A soak runs for long on machines that have other things to do. What was stopped for a minute, or suspended with its
machine, finds all its deadlines passed at once; none of them says anything about the sidecars.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

BEAT_S: Final = 1.0
STILL_S: Final = 5.0
"""Seconds between two looks at the clock that are not counted."""


class OwnTime:
    """Seconds that this process lived; to be looked at every few seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self.still_s = 0.0
        """Seconds that were left out, in all."""

    def now(self) -> float:
        now = self._clock()
        if now - self._last > STILL_S:
            self.still_s += now - self._last
        self._last = now
        return now - self.still_s


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._own = OwnTime()
        super().__init__()

    def time(self) -> float:
        return self._own.now()


def run(main: Coroutine[Any, Any, None]) -> None:
    """As `asyncio.run`, on such a loop."""

    async def beating() -> None:
        loop = asyncio.get_running_loop()

        def beat() -> None:
            loop.call_later(BEAT_S, beat)

        beat()
        await main

    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(beating())
