"""Who watches which address, and the line each of them is to be told. Pure.

An answer is computed and encoded once for all its watchers, and a line that did not change is not sent again. Where
there is no answer now, nothing is told until there is one.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from handfast_sidecar.directory.codec import encode
from handfast_sidecar.directory.messages import AddressAnswer, AddressUpdate

S = TypeVar("S", bound=Hashable)


class Subscriptions(Generic[S]):
    """The watched addresses of all subscribers."""

    def __init__(self, answer: Callable[[str], AddressAnswer | None]) -> None:
        self._answer = answer
        self._watchers: dict[str, dict[S, None]] = {}
        self._lines: dict[str, bytes] = {}
        self._stale: set[str] = set()

    def __len__(self) -> int:
        """Watched addresses."""
        return len(self._watchers)

    def watch(self, subscriber: S, address: str) -> bytes:
        """Begin to watch; the line with what lives there now, empty when that cannot be said."""
        self._watchers.setdefault(address, {})[subscriber] = None
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = self._line(address)
        elif address in self._stale:
            # The others are told with the next turn; this one must not begin with what is known to be old.
            return self._line(address)
        return line

    def unwatch(self, subscriber: S, address: str) -> None:
        """Stop watching; unknown ones are ignored."""
        watchers = self._watchers.get(address)
        if watchers is None:
            return
        watchers.pop(subscriber, None)
        if not watchers:
            del self._watchers[address]
            self._lines.pop(address, None)
            self._stale.discard(address)

    def withhold(self, addresses: Iterable[str]) -> None:
        """Tell nobody new what was told of these, until they are `changed`."""
        for address in addresses:
            if address in self._watchers:
                self._lines[address] = b""

    def watched(self) -> tuple[str, ...]:
        """Every address."""
        return tuple(self._watchers)

    def changed(self, addresses: Iterable[str]) -> bool:
        """Mark answers as possibly old; whether anybody watches one of them."""
        watched = [address for address in addresses if address in self._watchers]
        self._stale.update(watched)
        return bool(watched)

    def flush(self) -> Iterator[tuple[str, bytes, tuple[S, ...]]]:
        """Address, new line and watchers of every answer that did change."""
        stale, self._stale = self._stale, set()
        for address in stale:
            if address not in self._watchers:
                continue  # the last watcher left while the others before it were told
            line = self._line(address)
            if line and line != self._lines[address]:
                self._lines[address] = line
                yield address, line, tuple(self._watchers[address])

    def _line(self, address: str) -> bytes:
        answer = self._answer(address)
        return encode(AddressUpdate(answer)) if answer is not None else b""
