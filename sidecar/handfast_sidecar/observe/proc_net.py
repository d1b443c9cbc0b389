"""The TCP sockets of this pod's network namespace, as /proc/net/tcp and tcp6 list them: of all its containers.

The format is the kernel's (Documentation/networking/proc_net_tcp.rst). Listeners come first, so whoever wants them
alone stops reading where they end, however many connections the pod has.
"""

import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

_LISTEN: Final = 0x0A
"""TCP_LISTEN (include/net/tcp_states.h)."""
TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """A line of the table."""

    address: str
    """Its own; one that is IPv4 in IPv6's clothes is told as IPv4."""
    port: int
    listening: bool
    uid: int
    inode: int
    """0: no process holds it (not accepted yet, or closed already)."""


def parse(lines: Iterable[str]) -> Iterator[TcpSocket]:
    """The sockets of a table; lines that are none, such as its head, are left out."""
    for line in lines:
        words = line.split()
        try:
            address, _, port = words[1].partition(":")
            yield TcpSocket(
                _address(address), int(port, 16), int(words[3], 16) == _LISTEN, int(words[7]), int(words[9])
            )
        except (IndexError, ValueError):
            continue


def sockets(tables: Iterable[Path] = TABLES) -> Iterator[TcpSocket]:
    """All of them. A table that cannot be read, as on a kernel without IPv6, is empty."""
    for table in tables:
        with suppress(OSError), table.open() as lines:
            yield from parse(lines)


def listeners(tables: Iterable[Path] = TABLES) -> Iterator[TcpSocket]:
    """Those that listen; nothing behind them is read."""
    for table in tables:
        with suppress(OSError), table.open() as lines:
            for each in parse(lines):
                if not each.listening:
                    break
                yield each


def _address(digits: str) -> str:
    """Words of 32 bits, each printed as this machine's number. Raises ValueError."""
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(digits) == 8:
        return str(IPv4Address(packed))
    if len(digits) != 32:
        raise ValueError(f"{digits!r} is no address")
    found = IPv6Address(packed)
    return str(found.ipv4_mapped or found)
