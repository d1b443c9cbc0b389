"""What a restarted proxy knows again: answers and our own place, in the cache file soon after each change."""

import asyncio
import time
from typing import Final

from handfast_sidecar.directory.book import AddressBook
from handfast_sidecar.directory.cache_file import CacheFile
from handfast_sidecar.directory.messages import Place

CACHE_EVERY_S: Final = 2.0
"""Seconds in which changes are collected before the cache file is written."""


class Memory:
    """Outlives a run of the proxy where there is a file, and is of no consequence where there is none."""

    def __init__(self, book: AddressBook, file: CacheFile | None) -> None:
        """Begins with what an earlier run knew."""
        self.place = Place()
        """Where our own pod runs, as the directory last said."""
        self._book = book
        self._file = file
        self._changed = asyncio.Event()
        if file is not None:
            book.load(file.read(), time.monotonic())
            self.place = file.place

    def learnt(self) -> None:
        """The book has news."""
        self._changed.set()

    def placed(self, place: Place) -> None:
        """The directory said where we run."""
        self.place = place
        if self._file is not None:
            self._file.place = place
            self._changed.set()

    async def keep(self) -> None:
        """Write what changed, until cancelled."""
        while self._file is not None:
            await self._changed.wait()
            await asyncio.sleep(CACHE_EVERY_S)
            self._changed.clear()
            await asyncio.to_thread(self._file.write, self._book.answers())

    def close(self) -> None:
        """Write what is not written yet."""
        if self._file is not None and self._changed.is_set():
            self._file.write(self._book.answers())
