"""The evidence, told to the controller for as long as it listens: the protocol `handfast-evidence/1`.

It says nothing and we say what changed every few seconds. The one rule: a round is only begun when the one before has
left, so that a controller that does not read costs a buffer, and after a while its connection.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from handfast_operator import metrics
from handfast_operator.evidence.changes import Telling
from handfast_operator.evidence.view import EvidenceView
from handfast_sidecar.observe.metrics import Registry

ROUND_S: Final = 5.0
"""Seconds between two rounds: half of what lies between two reports of a sidecar."""
GATHER_S: Final = 0.5
"""Seconds from what a rotation waits for, a bundle or a leaf that another one replaced, to the round that tells it."""
SLOW_S: Final = 30.0
"""Seconds that a controller may take to read what waits for it."""
MAX_FEEDS: Final = 4
"""One controller leads; another one takes over while the first is not known to be gone."""
HIGH_WATER: Final = 256 << 10

log = logging.getLogger(__name__)


class EvidenceFeeds:
    """The controllers that listen."""

    def __init__(self, view: Callable[[], EvidenceView], registry: Registry, *, round_s: float = ROUND_S) -> None:
        self._view = view
        self._round_s = round_s
        self._running: dict[asyncio.Task[None], _Feed] = {}
        metrics.FEEDS.of(registry).set_function(lambda: len(self._running))

    def begin(self, transport: asyncio.Transport, seconds_left: float) -> None:
        """Tell it everything, and then what changes, until it leaves or its leaf ends."""
        feed = _Feed(transport)
        transport.set_write_buffer_limits(high=HIGH_WATER)
        transport.set_protocol(feed)
        task = asyncio.create_task(self._tell(feed, seconds_left))
        self._running[task] = feed
        task.add_done_callback(self._running.pop)
        for older in list(self._running)[:-MAX_FEEDS]:
            older.cancel()
        log.info("the controller follows the evidence", extra={"feeds": len(self._running)})

    def wake(self) -> None:
        """Something is known that a rotation waits for."""
        for feed in self._running.values():
            feed.woken.set()

    def stop(self) -> None:
        """End all of them."""
        for task in list(self._running):
            task.cancel()

    async def _tell(self, feed: "_Feed", seconds_left: float) -> None:
        telling = Telling()
        try:
            feed.transport.resume_reading()
            async with asyncio.timeout(seconds_left):
                while not feed.transport.is_closing():
                    for line in telling.lines(self._view()):
                        feed.transport.write(line)
                        async with asyncio.timeout(SLOW_S):
                            await feed.writable.wait()
                    await feed.rest(self._round_s)
        except TimeoutError:
            log.info("a feed of the evidence ends: its leaf has ended, or nothing was read of it")
        except Exception:
            # The supervisor of one feed: whatever fails in it must not end the directory.
            log.exception("a feed of the evidence failed in a way of its own")
        finally:
            feed.transport.abort()


class _Feed(asyncio.Protocol):
    """One connection; nothing is to be said to us."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.writable = asyncio.Event()
        self.writable.set()
        self.woken = asyncio.Event()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def rest(self, seconds: float) -> None:
        """So long, or until something presses, or until it has gone."""
        self.woken.clear()
        pressing = asyncio.create_task(self.woken.wait())
        try:
            done, _ = await asyncio.wait((self.gone, pressing), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if pressing in done:
                await asyncio.wait((self.gone,), timeout=min(seconds, GATHER_S))
        finally:
            pressing.cancel()

    def data_received(self, _data: bytes) -> None:
        self.transport.abort()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.writable.set()
        if not self.gone.done():
            self.gone.set_result(None)
