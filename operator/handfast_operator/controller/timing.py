"""Time for what waits: a clock that tests can turn, and what keeps a pace by it.

Its one rule: nothing in the issuer asks the system for the time or sleeps by itself.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)


class Timer(Protocol):
    """Something that will be called."""

    def cancel(self) -> None: ...


class Time(Protocol):
    """The clock and its alarm."""

    def now(self) -> datetime: ...
    def call_at(self, when: datetime, callback: Callable[[], object]) -> Timer: ...


class SystemTime:
    """The real one; the event loop's own heap keeps the timers."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def call_at(self, when: datetime, callback: Callable[[], object]) -> Timer:
        delay = max((when - self.now()).total_seconds(), 0)
        return asyncio.get_running_loop().call_later(delay, callback)


async def wait_until(time: Time, when: datetime) -> None:
    """Return at the given time."""
    reached = asyncio.Event()
    timer = time.call_at(when, reached.set)
    try:
        await reached.wait()
    finally:
        timer.cancel()


LONGEST_HOLD: Final = timedelta(seconds=30)
"""However long somebody asks for: a pod without its Secret does not start."""


class TokenBucket:
    """A pace: `rate` a second on average, `burst` at once. Those who come too early wait in the order they came."""

    def __init__(self, rate: float, burst: int, time: Time) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._time = time
        self._tokens = float(burst)
        self._counted_at = time.now()
        self._held_until = self._counted_at

    def hold(self, wanted: timedelta) -> None:
        """Give nobody a token for so long, at most LONGEST_HOLD: whom we call has more to do than it can."""
        self._held_until = max(self._held_until, self._time.now() + min(wanted, LONGEST_HOLD))

    async def take(self) -> None:
        """Wait for a token. The bucket may owe: a debt is a place in the line."""
        now = self._time.now()
        # A clock that is set back must not make the bucket owe more.
        passed = max((now - self._counted_at).total_seconds(), 0)
        self._tokens = min(self._burst, self._tokens + passed * self._rate) - 1
        self._counted_at = now
        if self._tokens < 0:
            await wait_until(self._time, now + timedelta(seconds=-self._tokens / self._rate))
        # A clock that was set back must not make it longer.
        while timedelta() < self._held_until - self._time.now() <= LONGEST_HOLD:
            await wait_until(self._time, self._held_until)


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard the API server is driven."""

    in_flight: int = 24
    """Writes at once, at most: fewer while the API server is slow."""
    rate: float = 500
    """Writes per second on average: 10,000 new pods have their Secrets in 18 s."""
    burst: int = 1000
    """Writes at once after a quiet time."""


SLOW: Final = timedelta(seconds=1)
"""An answer that takes longer shows a server that is behind: our Lease is renewed by two calls, and has ten seconds."""


class Window:
    """How many calls may be under way: half as many after a slow answer, one more after as many quick ones as that.

    Additive increase, multiplicative decrease, as TCP finds its share of a line that it does not know (RFC 5681). Those
    who wait have their turns in the order in which they came: while the server is slow, a worker that has just ended a
    call would else begin its next one before anybody who waits has heard of the end.
    """

    def __init__(self, most: int, time: Time) -> None:
        self._most = most
        self._time = time
        self._width = float(most)
        self._under_way = 0
        self._narrowed_at = time.now()
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def width(self) -> int:
        """Calls at once, as of now; at least one."""
        return int(self._width)

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Wait for a place; the block is one call, and how long it takes is what is learnt from it."""
        await self._turn()
        began = self._time.now()
        try:
            yield
        finally:
            self._learn(began)
            self._leave()

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._leave()  # it had its place already
            raise

    def _leave(self) -> None:
        self._under_way -= 1
        self._admit()

    def _admit(self) -> None:
        """Give away what is free. A place is taken here, and not by who wakes up, so that nobody comes in between."""
        while self._waiting and self._under_way < self.width:
            turn = self._waiting.popleft()
            if not turn.cancelled():
                self._under_way += 1
                turn.set_result(None)

    def _learn(self, began: datetime) -> None:
        now = self._time.now()
        if now - began <= SLOW:
            self._width = min(self._most, self._width + 1 / self._width)
        elif began >= self._narrowed_at:
            # Those that began before say nothing of the width that we have now.
            self._width = max(1.0, self._width / 2)
            self._narrowed_at = now


class Allowance(Generic[K]):
    """A bound for each key: whoever makes us repeat the work for one must not take the pace of all others."""

    def __init__(self, time: Time, actions: int = 12, window: timedelta = timedelta(minutes=1)) -> None:
        self._time = time
        self._actions = actions
        self._window = window
        self._used: dict[K, tuple[datetime, int]] = {}
        """Start of the key's window, and actions in it."""

    def take(self, key: K) -> datetime | None:
        """Count an action; when there were too many, when the next one is free."""
        now = self._time.now()
        started, count = self._used.get(key, (now, 0))
        if not started <= now < started + self._window:
            started, count = now, 0
        if count >= self._actions:
            return started + self._window
        self._used[key] = (started, count + 1)
        return None

    def forget(self, key: K) -> None:
        """The key will not come again."""
        self._used.pop(key, None)
