"""What lives at an address that an application dials: asked of the directory, with the patience that safety asks for.

The one rule: no answer is never "nobody". Inside the cluster's ranges a connection waits for somebody who knows.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from handfast_sidecar.directory.messages import AddressAnswer, NobodyAddress, Place

HOLD_S: Final = 5.0
"""Seconds a connection into the cluster's ranges waits for a directory that does not answer."""
SETTLE_S: Final = 1.0
"""Seconds that a "nobody" about an address of the cluster's own ranges must stand: a pod that has just been created may
have its address before the directory's watch tells of it, and must not be spoken to in plaintext meanwhile."""
MAX_SETTLED: Final = 4096


class AddressSource(Protocol):
    """What outbound needs of the directory's client."""

    @property
    def connected(self) -> bool: ...
    @property
    def place(self) -> Place: ...
    def known(self, address: str) -> AddressAnswer | None: ...
    async def resolve(self, address: str, timeout_s: float) -> AddressAnswer | None: ...


class Asked:
    """Asks for addresses, and remembers which are nobody's."""

    def __init__(self, directory: AddressSource, in_cluster: Callable[[str], bool]) -> None:
        self._directory, self.in_cluster = directory, in_cluster
        self.settled: set[str] = set()
        """Addresses of the cluster's ranges that were nobody's for long enough."""

    async def answer(self, address: str) -> AddressAnswer | None:
        """None: nobody says. An address of the cluster is held until somebody does, for HOLD_S at most."""
        answer = self._directory.known(address)
        if answer is None:
            if not self._directory.connected and not self.in_cluster(address):
                return None
            answer = await self._directory.resolve(address, HOLD_S)
        if not isinstance(answer, NobodyAddress):
            self.settled.discard(address)
            return answer
        if address not in self.settled and self.in_cluster(address):
            await asyncio.sleep(SETTLE_S)
            answer = self._directory.known(address)
            if isinstance(answer, NobodyAddress) and len(self.settled) < MAX_SETTLED:
                self.settled.add(address)
        return answer
