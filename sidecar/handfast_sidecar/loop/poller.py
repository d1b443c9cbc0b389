"""One epoll for all sockets: asyncio's selector, and beside it the data path's own, shorter way from event to handler.

A turn asks the kernel once for everything that is ready. The data path's handlers are called from within it, one after
the other, and then what was left for the end of the turn: so frames of many connections leave together. A handler costs
a lookup and a call, a quarter of what a reader of asyncio's costs and as little as one of uvloop's, which would take
two megabytes of every pod (docs/performance.md). Everything else, the directory's stream and the admin port, are
asyncio's as ever.

The one rule: an event is for whom it was meant. A descriptor that is forgotten in a turn, closed perhaps and taken
anew, has no more events in that turn: what is still true comes with the next.
"""

import asyncio
import math
import os
import select
import selectors
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
ERROR: Final = select.EPOLLERR
"""Never asked for and always told: an RST, mostly."""
BATCH: Final = 256
"""Descriptors served in one turn before what they wrote leaves: more would make the first wait for the last."""

Handler = Callable[[int], None]
"""Called with the events: READ, WRITE, or neither of them after an error or a hang-up."""


class Poller(selectors.EpollSelector):
    """Readiness of sockets, level-triggered."""

    def __init__(self) -> None:
        super().__init__()
        # The same epoll under a name of its own: its object inside EpollSelector is nobody's business.
        self._epoll = select.epoll.fromfd(os.dup(self.fileno()))
        self._watched: dict[int, int] = {}
        self._handlers: dict[int, Handler] = {}
        self._forgotten: set[int] = set()
        """In this turn."""
        self._late: list[Callable[[], None]] = []
        self._in_turn = False

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call `handler` when one of the events comes, instead of what was asked for this descriptor before.

        With no events the handler is still told of an error, and of a hang-up, which means that both ends have sent FIN
        and may leave bytes to read: whatever it is, the handler forgets the descriptor or asks for events.
        """
        before = self._watched.get(fd)
        self._handlers[fd] = handler
        if before is None:
            self._epoll.register(fd, events)
        elif before != events:
            self._epoll.modify(fd, events)
        self._watched[fd] = events

    def forget(self, fd: int) -> None:
        """Watch it no more; one that is not watched is no error."""
        if fd in self._watched:
            self._epoll.unregister(fd)
        self.closing(fd)

    def closing(self, fd: int) -> None:
        """As `forget`, for one that is closed in the same breath: then the kernel forgets it by itself (epoll(7))."""
        self._watched.pop(fd, None)
        self._handlers.pop(fd, None)
        self._forgotten.add(fd)

    def at_end(self, callback: Callable[[], None]) -> None:
        """Call at the end of this turn, or in the loop's next iteration when no turn runs."""
        self._late.append(callback)
        if not self._in_turn and len(self._late) == 1:
            asyncio.get_running_loop().call_soon(self._end)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """A turn; what is ready of descriptors that are not the data path's (selectors.BaseSelector.select)."""
        # Milliseconds are epoll's unit: rounded down, a timer would be waited for in a busy loop.
        wait = -1 if timeout is None else math.ceil(max(0.0, timeout) * 1000) / 1000
        ready: list[tuple[selectors.SelectorKey, int]] = []
        handlers, forgotten = self._handlers, self._forgotten
        events_of_all = self._epoll.poll(wait, BATCH)
        self._in_turn = True
        forgotten.clear()
        for fd, events in events_of_all:
            if fd in forgotten:
                continue
            handler = handlers.get(fd)
            if handler is None:
                self._foreign(fd, events, ready)
                continue
            try:
                handler(events)
            except Exception as error:  # noqa: BLE001 - one connection's failure must not end the others' turn
                _report(error)
        self._end()
        return ready

    def close(self) -> None:
        """With the loop."""
        self._epoll.close()
        super().close()

    def _foreign(self, fd: int, events: int, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        key = self.get_map().get(fd)
        if key is not None:
            # As EpollSelector has it: an error wakes readers and writers.
            wanted = (selectors.EVENT_WRITE if events & ~READ else 0) | (selectors.EVENT_READ if events & ~WRITE else 0)
            ready.append((key, wanted & key.events))

    def _end(self) -> None:
        while self._late:
            late, self._late = self._late, []
            self._in_turn = True
            for callback in late:
                try:
                    callback()
                except Exception as error:  # noqa: BLE001 - as above
                    _report(error)
        self._in_turn = False


def _report(error: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler(
        {"message": "a handler of the data path failed", "exception": error}
    )


class _Loop(asyncio.SelectorEventLoop):
    """A loop of asyncio whose selector is a poller."""

    def __init__(self) -> None:
        self.poller = Poller()
        super().__init__(self.poller)


_pollers: "WeakKeyDictionary[asyncio.AbstractEventLoop, Poller]" = WeakKeyDictionary()
"""Of loops that were made elsewhere."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """What the proxy runs on."""
    return _Loop()


def current() -> Poller:
    """The running loop's poller; in a loop that was made elsewhere, one descriptor of it."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, _Loop):
        return loop.poller
    poller = _pollers.get(loop)
    if poller is None:
        poller = _pollers[loop] = Poller()
        loop.add_reader(poller.fileno(), poller.select, 0)
    return poller
