"""One epoll for all sockets of the data path, itself one descriptor of the event loop.

A turn asks the kernel once for everything that is ready, calls the handlers one after the other, and then runs what was
left for the end of the turn: so frames of many connections leave together. A handler costs a dictionary lookup and a
call, where a reader of the event loop costs a handle, a context and three layers of callbacks: at tens of thousands of
small reads a second that is a third of the proxy's own time (docs/performance.md).

The one rule: handlers take a descriptor that turns out not to be ready as no news, because a turn may still bring an
event of a descriptor that was closed, and taken anew, earlier in it.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary, ref

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
BATCH: Final = 256
"""Descriptors served in one turn before what they wrote leaves: more would make the first wait for the last."""

Handler = Callable[[int], None]
"""Called with the events: READ, WRITE, or neither of them after an error or a hang-up."""


class Poller:
    """Readiness of sockets; level-triggered, as the event loop's own readers are."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._epoll = select.epoll()
        self._events: dict[int, int] = {}
        self._handlers: dict[int, Handler] = {}
        self._late: list[Callable[[], None]] = []
        self._in_turn = False
        loop.add_reader(self._epoll.fileno(), self._turn)

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call `handler` when one of the events comes, instead of what was asked for this descriptor before.

        With no events the descriptor is left alone, also by errors and hang-ups, which nobody could act upon.
        """
        before = self._events.get(fd, 0)
        self._handlers[fd] = handler
        if before == events:
            return
        if not events:
            self._epoll.unregister(fd)
        elif before:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._events[fd] = events

    def forget(self, fd: int) -> None:
        """Watch it no more; one that is not watched is no error."""
        if self._events.pop(fd, 0):
            self._epoll.unregister(fd)
        self._handlers.pop(fd, None)

    def closing(self, fd: int) -> None:
        """As `forget`, for one that is closed in the same breath: then the kernel forgets it by itself (epoll(7))."""
        self._events.pop(fd, None)
        self._handlers.pop(fd, None)

    def at_end(self, callback: Callable[[], None]) -> None:
        """Call at the end of this turn, or in the loop's next iteration when no turn runs."""
        self._late.append(callback)
        if not self._in_turn and len(self._late) == 1:
            loop = self._loop()
            if loop is not None:
                loop.call_soon(self._run_late)

    def _turn(self) -> None:
        handlers = self._handlers
        self._in_turn = True
        try:
            for fd, events in self._epoll.poll(0, BATCH):
                handler = handlers.get(fd)
                if handler is not None:
                    try:
                        handler(events)
                    except Exception as error:  # noqa: BLE001 - one connection's failure must not end the others' turn
                        self._report(error)
        finally:
            self._in_turn = False
        self._run_late()

    def _run_late(self) -> None:
        late = self._late
        while late:
            self._late = []
            self._in_turn = True
            try:
                for callback in late:
                    try:
                        callback()
                    except Exception as error:  # noqa: BLE001 - as above
                        self._report(error)
            finally:
                self._in_turn = False
            late = self._late

    def _report(self, error: Exception) -> None:
        loop = self._loop()
        if loop is not None:
            loop.call_exception_handler({"message": "a handler of the data path failed", "exception": error})


_pollers: "WeakKeyDictionary[asyncio.AbstractEventLoop, Poller]" = WeakKeyDictionary()


def current() -> Poller:
    """The running loop's poller."""
    loop = asyncio.get_running_loop()
    poller = _pollers.get(loop)
    if poller is None:
        poller = _pollers[loop] = Poller(loop)
    return poller
