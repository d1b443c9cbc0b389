"""What this sidecar knows of each address it talks to, and which addresses it wants to hear about. Pure.

The book never invents an answer: an address without one is unknown until the directory spoke, and what the directory
said stays true for us until it says otherwise, however long it is away.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from handfast_sidecar.directory.messages import MAX_WATCHES, AddressAnswer

IDLE_S: Final = 600.0
"""Seconds without a connection to an address after which it is no longer watched."""


@dataclass(slots=True)
class _Entry:
    used: float
    answer: AddressAnswer | None = None


class AddressBook:
    """Answers by address, the least recently used first; bounded, because applications may dial anything."""

    def __init__(self, limit: int = MAX_WATCHES, idle_s: float = IDLE_S) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._limit = limit
        self._idle_s = idle_s

    def __len__(self) -> int:
        return len(self._entries)

    def known(self, address: str) -> AddressAnswer | None:
        """What lives there; None when the directory has not said."""
        entry = self._entries.get(address)
        return entry.answer if entry is not None else None

    def touch(self, address: str, now: float) -> None:
        """A connection to a wanted address; others are ignored."""
        entry = self._entries.get(address)
        if entry is not None:
            entry.used = now
            self._entries.move_to_end(address)

    def want(self, address: str, now: float) -> tuple[bool, tuple[str, ...]]:
        """Ask for an address: whether it is new to the book, and the addresses that had to leave for it."""
        if address in self._entries:
            self.touch(address, now)
            return False, ()
        left = []
        while len(self._entries) >= self._limit:
            left.append(self._entries.popitem(last=False)[0])
        self._entries[address] = _Entry(now)
        return True, tuple(left)

    def wanted(self) -> tuple[str, ...]:
        """What the directory is to watch for us, the most recently used first: after a reconnect they matter most."""
        return tuple(reversed(self._entries))

    def apply(self, answer: AddressAnswer) -> bool:
        """Take what the directory said; False when nothing changed or when nobody wants it any more."""
        entry = self._entries.get(answer.address)
        if entry is None or entry.answer == answer:
            return False
        entry.answer = answer
        return True

    def expired(self, now: float) -> tuple[str, ...]:
        """Forget the addresses that were idle for too long, and return them: they are to be unwatched."""
        gone = []
        for address, entry in self._entries.items():
            if now - entry.used < self._idle_s:
                break  # ordered by use: the rest is younger
            gone.append(address)
        for address in gone:
            del self._entries[address]
        return tuple(gone)

    def answers(self) -> tuple[AddressAnswer, ...]:
        """Everything known, the least recently used first: what a restarted proxy should know again."""
        return tuple(entry.answer for entry in self._entries.values() if entry.answer is not None)

    def load(self, answers: Iterable[AddressAnswer], now: float) -> None:
        """Begin with what an earlier run knew, in the order of `answers()`; the newest of them are kept."""
        for answer in answers:
            self.want(answer.address, now)
            self.apply(answer)
