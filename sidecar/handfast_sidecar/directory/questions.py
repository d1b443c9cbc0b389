"""Questions to the directory, and its answers: from the book where it spoke before, asked and awaited where not.

The one rule: a question outlives the stream it was asked on. Its address stays wanted, and is asked for again on the
next stream; only who waits for the answer gives up in his own time.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from handfast_sidecar.directory.book import AddressBook
from handfast_sidecar.directory.messages import AddressAnswer, FromSidecar, Unwatch, Watch
from handfast_sidecar.directory.patience import Patience
from handfast_sidecar.directory.stream import DirectoryStream, StreamEnded

UNANSWERED_S: Final = 2.0
"""Seconds in which a question is answered, or the directory says anything else: one that does not is taken for lost,
while there is time to ask another one. Without a question it has longer (`messages.SILENCE_S`)."""


class Questions:
    """What is asked, and who waits for it."""

    def __init__(self, book: AddressBook, patience: Patience) -> None:
        self.book = book
        self.stream: DirectoryStream | None = None
        """On which they are asked now; without one they are left to the next."""
        self._patience = patience
        self._waiters: dict[str, asyncio.Future[None]] = {}
        """By address, from the first question until the answer: callers may long have given up."""

    def known(self, address: str) -> AddressAnswer | None:
        """What lives at an address as far as we were told; never waits."""
        self.book.touch(address, time.monotonic())
        return self.book.known(address)

    async def resolve(self, address: str, timeout_s: float) -> AddressAnswer | None:
        """What lives at an address, asked of the directory if need be; None when nobody answered in time."""
        answer = self.known(address)
        if answer is not None:
            return answer
        self._want(address)
        waiter = self._waiters.get(address)
        if waiter is None:
            waiter = self._waiters[address] = asyncio.get_running_loop().create_future()
        self._patience.urge()
        with self._patience.waiting():
            stream, asked_at = self.stream, time.monotonic()
            await asyncio.wait((waiter,), timeout=min(timeout_s, UNANSWERED_S))
            if not waiter.done() and timeout_s > UNANSWERED_S:
                self._doubt(stream, asked_at)
                await asyncio.wait((waiter,), timeout=timeout_s - UNANSWERED_S)
        return self.book.known(address)

    def repeated(self) -> Iterator[Watch]:
        """All that is asked, for the beginning of a stream."""
        return map(Watch, self.book.wanted())

    def answered(self, answer: AddressAnswer) -> bool:
        """The directory spoke of an address; whether it is news."""
        news = self.book.apply(answer)
        self._settle(answer.address)
        return news

    def forget_idle(self) -> None:
        """Ask no longer for addresses that nobody dialled for long."""
        self._forgotten(self.book.expired(time.monotonic()))

    def _want(self, address: str) -> None:
        new, left = self.book.want(address, time.monotonic())
        self._forgotten(left)
        if new:
            self._send(Watch(address))

    def _forgotten(self, addresses: tuple[str, ...]) -> None:
        for address in addresses:
            self._send(Unwatch(address))
            self._settle(address)

    def _settle(self, address: str) -> None:
        waiter = self._waiters.pop(address, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _send(self, message: FromSidecar) -> None:
        """Whatever cannot be sent now is said by the replay of the next stream."""
        if self.stream is not None:
            self.stream.send(message)

    def _doubt(self, stream: DirectoryStream | None, asked_at: float) -> None:
        """A question was not answered on this stream."""
        if stream is not None and stream is self.stream and stream.heard_at < asked_at:
            self._patience.urge()
            stream.give_up(StreamEnded("unanswered", f"the directory was silent for {UNANSWERED_S:.0f} s when asked"))
