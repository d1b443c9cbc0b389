"""Names of upstreams, resolved when a connection comes, by the pod's own resolver: its search domains, its hosts file.

An answer is good for a few seconds, so that connections do not wait for DNS; a name is asked for once at a time,
however many connections wait for it. No answer is an error for those that wait, and is not remembered.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import cycle
from typing import Final

TTL_S: Final = 5.0
"""Seconds that an answer is good for; DNS in clusters says 5 to 30."""
LOOKUP_TIMEOUT_S: Final = 5.0
"""Seconds that a connection waits; the lookup itself goes on, for the next one."""


class NoSuchHost(Exception):
    """A name has no address; the message says which, and why."""


@dataclass(slots=True)
class _Found:
    turn: Iterator[str]
    """Its addresses, one after the other, over and over."""
    until: float


async def look_up(host: str) -> Sequence[str]:
    """The addresses of a name, of the family that the resolver prefers (RFC 6724). Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = [ip_address(address[0]) for family, _, _, _, address in found if family == found[0][0]]
    return list(dict.fromkeys(str(getattr(each, "ipv4_mapped", None) or each) for each in addresses))


class Names:
    """Addresses of names. As many are remembered as are asked for: the upstreams' own."""

    def __init__(
        self,
        look_up: Callable[[str], Awaitable[Sequence[str]]] = look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        self._found: dict[str, _Found] = {}
        self._asked: dict[str, asyncio.Task[_Found | NoSuchHost]] = {}

    async def address(self, host: str) -> str:
        """One address, another one each time where there are several. Raises NoSuchHost."""
        found = self._found.get(host)
        if found is None or self._clock() >= found.until:
            found = await self._ask(host)
        return next(found.turn)

    async def _ask(self, host: str) -> _Found:
        task = self._asked.get(host)
        if task is None:
            task = self._asked[host] = asyncio.create_task(self._find(host))
            task.add_done_callback(lambda _task: self._asked.pop(host))
        try:
            # Shielded: others wait for the same answer.
            found = await asyncio.wait_for(asyncio.shield(task), LOOKUP_TIMEOUT_S)
        except TimeoutError:
            raise NoSuchHost(
                f"the name {host} was not resolved within {LOOKUP_TIMEOUT_S:.0f} s: is DNS there?"
            ) from None
        if isinstance(found, NoSuchHost):
            raise NoSuchHost(str(found))
        self._found[host] = found
        return found

    async def _find(self, host: str) -> _Found | NoSuchHost:
        """Never raises: there may be nobody left who would hear it."""
        try:
            addresses = await self._look_up(host)
        except OSError as error:
            return NoSuchHost(f"the name {host} is not resolved: {error.strerror or error}")
        if not addresses:
            return NoSuchHost(f"the name {host} has no address")
        return _Found(cycle(addresses), self._clock() + TTL_S)
