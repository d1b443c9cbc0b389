"""What one client may take of the webhook: everybody in the cluster can reach its port, and only the API server should.

The one rule: a source that asks for too much costs itself its connections, and no other source anything.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S: Final = 10.0
FIRST_REQUEST_S: Final = 10.0
"""Seconds from the first sight of a connection to its first request's head: the API server sends it at once."""
KEEPALIVE_S: Final = 120.0
"""Seconds of an idle connection: longer than the API server keeps one (90), so that it is he who closes."""
LINGERING_S: Final = 1.0
"""Seconds of reading, and forgetting, what a refused client still sends, so that it can read why."""
MAX_CONNECTIONS: Final = 512
"""Of one source. The API server has one review in flight per connection, and by default 200 writes in flight."""
MAX_BYTES: Final = 32 << 20
"""Of the bodies in flight of one source: four of the largest, or thousands of the usual size."""
SWEEP_S: Final = 1.0


class Busy(Exception):
    """A source has as much in flight as it may."""


class Bounds:
    """Counts by source."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bytes: Counter[str] = Counter()
        self._since: dict[web.RequestHandler, float] = {}
        self._asked: set[web.RequestHandler] = set()

    @contextmanager
    def body(self, source: str, size: int) -> Iterator[None]:
        """While a body is read and answered. Raises Busy."""
        if self._bytes[source] + size > MAX_BYTES:
            raise Busy(f"{source} has {self._bytes[source]} bytes of reviews in flight")
        self._bytes[source] += size
        try:
            yield
        finally:
            self._bytes[source] -= size
            if not self._bytes[source]:
                del self._bytes[source]

    def asked(self, connection: web.RequestHandler) -> None:
        """A request's head has arrived."""
        self._asked.add(connection)

    def sweep(self, server: web.Server) -> None:
        """Close what has not asked anything in time, and the youngest of a source that has too many."""
        now, by_source = self._clock(), defaultdict(list)
        self._since = {each: self._since.get(each, now) for each in server.connections}
        self._asked.intersection_update(self._since)
        for each, since in self._since.items():
            if each not in self._asked and now - since >= FIRST_REQUEST_S:
                each.force_close()
            else:
                peer = each.transport.get_extra_info("peername") if each.transport else None
                by_source[str((peer or ("unknown",))[0])].append(each)
        for source, connections in by_source.items():
            excess = sorted(connections, key=self._since.__getitem__)[MAX_CONNECTIONS:]
            for each in excess:
                each.force_close()
            if excess:
                log.warning("connections closed", extra={"source": source, "excess": len(excess)})

    async def run(self, server: web.Server) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep(server)
