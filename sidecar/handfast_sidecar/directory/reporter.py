"""Reports to the directory, at their pace: one every few seconds, and soon after news that others wait to hear of."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Final, NoReturn

from handfast_sidecar.directory.messages import REPORT_EVERY_S, Report
from handfast_sidecar.directory.reporting import Reporting
from handfast_sidecar.directory.stream import DirectoryStream

REPORT_SOON_S: Final = 2.0
"""Longest time until news is reported, by chance less: thousands of sidecars may have the same news in one moment."""


class Reporter:
    """Reports on one stream after another."""

    def __init__(self, report: Callable[[], Report], make_room: Callable[[], bool]) -> None:
        """As `Reporting` has them."""
        self._reporting = Reporting(report, make_room)
        self._news = asyncio.Event()

    def soon(self) -> None:
        """Something changed that others wait to hear of: do not let them wait for the next report."""
        self._news.set()

    async def report_on(self, stream: DirectoryStream) -> NoReturn:
        """Until cancelled."""
        for line in self._reporting.begin():
            await stream.send_all(line)
        while True:
            self._news.clear()
            for line in self._reporting.next():
                await stream.send_all(line)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_EVERY_S):
                    await self._news.wait()
                    await asyncio.sleep(random.uniform(0, REPORT_SOON_S))  # noqa: S311 - jitter, not a secret

    def last(self, stream: DirectoryStream) -> None:
        """The proxy ends: a pod that lived for seconds would else have told of nothing."""
        stream.send(*self._reporting.next())
