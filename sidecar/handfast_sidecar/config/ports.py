"""Lists in a pod's annotations, and ports among them: "9090, 8000-8010". Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeGuard

from handfast_sidecar.errors import BadInput
from handfast_sidecar.wellknown import SIDECAR_PORTS

MAX_ENTRIES: Final = 64
"""Of one list: more is a pod that should be outside the mesh."""
MAX_ENTRY: Final = 64
"""Characters of an entry: the longest address has 45."""


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """Ports from `first` to `last`, both included."""

    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def parse_ports(text: str, reserved: frozenset[int] = SIDECAR_PORTS) -> tuple[PortRange, ...]:
    """Ports and ranges such as `9090, 8000-8010`. Raises BadInput; so it does for one that holds a reserved port."""
    return merge(_range(entry, reserved) for entry in entries(text))


def parse_few_ports(text: str) -> frozenset[int]:
    """The same one by one, of a list that is asked for each connection. Raises BadInput for more than MAX_ENTRIES."""
    ranges = parse_ports(text)
    count = sum(each.last - each.first + 1 for each in ranges)
    if count > MAX_ENTRIES:
        raise BadInput(f"it has {count} ports, at most {MAX_ENTRIES} are taken")
    return frozenset(port for each in ranges for port in range(each.first, each.last + 1))


def merge(ranges: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """The same ports in order, and in as few ranges as there can be."""
    merged: list[PortRange] = []
    for each in sorted(ranges):
        if merged and each.first <= merged[-1].last + 1:
            merged[-1] = PortRange(merged[-1].first, max(merged[-1].last, each.last))
        else:
            merged.append(each)
    return tuple(merged)


def port_number(text: str) -> int | None:
    """A port from its decimal digits; None when they are none, or no port's."""
    port = int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 else None
    return port if is_port(port) else None


def is_port(value: object) -> TypeGuard[int]:
    """Whether a value of a JSON document is a port; `true` is none, though Python takes it for 1."""
    return type(value) is int and 0 < value < 65536


def entries(text: str) -> list[str]:
    """What stands between the commas. Raises BadInput when it is more, or longer, than anybody needs."""
    found = [entry for part in text.split(",") if (entry := part.strip())]
    if len(found) > MAX_ENTRIES:
        raise BadInput(f"it has {len(found)} entries, at most {MAX_ENTRIES} are taken")
    for entry in found:
        if len(entry) > MAX_ENTRY:
            raise BadInput(f"the entry {entry[:MAX_ENTRY]!r}... is longer than {MAX_ENTRY} characters")
    return found


def _range(entry: str, reserved: frozenset[int]) -> PortRange:
    low, dash, high = (part.strip() for part in entry.partition("-"))
    first = _port(low, entry)
    last = _port(high, entry) if dash else first
    if last < first:
        raise BadInput(f"the range {entry!r} ends before it begins: write {last}-{first}")
    for port in sorted(reserved):
        if first <= port <= last:
            raise BadInput(f"{entry!r} has port {port}, which belongs to the sidecar: leave it out")
    return PortRange(first, last)


def _port(text: str, entry: str) -> int:
    port = port_number(text)
    if port is None:
        raise BadInput(f"{entry!r} is no port: expected a number from 1 to 65535, or a range such as 8000-8010")
    return port
