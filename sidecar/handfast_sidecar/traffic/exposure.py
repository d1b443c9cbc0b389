"""Where the application's listeners are, by the kernel's tables: on loopback, or open to whoever reaches the pod."""

import sys
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTEN: Final = "0A"
"""TCP_LISTEN (linux/net/tcp_states.h)."""


def exposed_at(port: int) -> str | None:
    """An address other than loopback on which this pod listens on a port; None: there is none, or no table to read."""
    for table in TABLES:
        try:
            with table.open(encoding="ascii") as lines:
                found = find_exposed(lines, port)
        except (OSError, ValueError):
            continue  # a warning is not worth a connection
        if found is not None:
            return found
    return None


def find_exposed(lines: Iterable[str], port: int) -> str | None:
    """The same, of the lines of one table (proc(5), /proc/net/tcp). They begin with the listeners; no more are read."""
    for line in lines:
        _number, local, _remote, state, *_ = line.split()
        if state == "st":
            continue
        if state != _LISTEN:
            return None
        address, _, number = local.partition(":")
        if int(number, 16) == port and not _loopback(ip := _address(address)):
            return str(ip)
    return None


def _address(text: str) -> IPv4Address | IPv6Address:
    """Words of 32 bits as this machine has them in memory, each printed as a number."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    return ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))


def _loopback(ip: IPv4Address | IPv6Address) -> bool:
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
