"""Answers that are not given while the API server is silent. Pure.

Of what it has told of, the last word stands. The one rule: an address that was nobody's may be somebody's by now, and
is not called nobody's again before the API server speaks.
"""

from collections.abc import Callable, Iterable
from ipaddress import ip_address

from handfast_operator.directory.index import AddressIndex
from handfast_sidecar.config.document import parse_ranges
from handfast_sidecar.directory.messages import AddressAnswer, NobodyAddress


class Withheld:
    """The index's answers, but for those; `ranges` are the cluster's."""

    def __init__(self, index: AddressIndex, ranges: Callable[[], tuple[str, ...]]) -> None:
        self._index, self._ranges = index, ranges
        self._addresses: set[str] | None = None
        """Of which nothing can be said; None: the API server is not silent."""

    @property
    def silence(self) -> bool:
        """Whether the API server is silent."""
        return self._addresses is not None

    def answer(self, address: str) -> AddressAnswer | None:
        """None: it was nobody's when the API server last spoke, and may be somebody's by now."""
        if self._addresses is not None and self._may_be_somebodys(address):
            self._addresses.add(address)
            return None
        return self._index.answer(address)

    def begin(self, watched: Iterable[str]) -> Iterable[str]:
        """The API server fell silent; those of the watched addresses of which nothing can be said now."""
        self._addresses = set(filter(self._may_be_somebodys, watched))
        return self._addresses

    def end(self) -> Iterable[str]:
        """It speaks again; the addresses of which nothing could be said."""
        withheld, self._addresses = self._addresses or set(), None
        return withheld

    def _may_be_somebodys(self, address: str) -> bool:
        if not isinstance(self._index.answer(address), NobodyAddress):
            return False
        ranges = parse_ranges(self._ranges())
        return not ranges or any(ip_address(address) in each for each in ranges)
