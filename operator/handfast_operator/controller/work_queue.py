"""Which pods are to be looked at: each at most once, by one worker at a time, the urgent ones first.

Its one rule: a key that is added while it is worked on comes again afterwards, so no change is ever missed.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys in two lanes: a pod that waits for its first leaf never stands behind ten thousand changes of a policy."""

    def __init__(self) -> None:
        self._urgent: OrderedDict[K, None] = OrderedDict()
        self._routine: OrderedDict[K, None] = OrderedDict()
        self._busy: dict[K, bool | None] = {}
        """Keys that are worked on: None, or whether their next turn is urgent."""
        self._waiting = asyncio.Semaphore(0)

    def __len__(self) -> int:
        return len(self._urgent) + len(self._routine)

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting or worked on."""
        return not len(self) and not self._busy

    def add(self, key: K, *, urgent: bool = False) -> None:
        """Ask for a turn; a key that waits already keeps its place, or gets a better one."""
        if key in self._busy:
            self._busy[key] = urgent or bool(self._busy[key])
        elif key in self._urgent:
            pass
        elif key in self._routine:
            if urgent:
                del self._routine[key]
                self._urgent[key] = None
        else:
            (self._urgent if urgent else self._routine)[key] = None
            self._waiting.release()

    async def get(self) -> K:
        """The next key; whoever takes it calls `done` afterwards."""
        await self._waiting.acquire()
        key, _ = (self._urgent or self._routine).popitem(last=False)
        self._busy[key] = None
        return key

    def done(self, key: K) -> None:
        """The turn is over; another one that was asked for meanwhile is queued."""
        again = self._busy.pop(key)
        if again is not None:
            self.add(key, urgent=again)
