"""What of a pod's traffic stays as it is: ports and networks that are not redirected to the proxy. Pure.

Written by the pod's owner in annotations, checked by the webhook, and carried to the init container in its environment,
in the same words. `parse_*` and `dump` are inverses up to order: what overlaps or touches is one entry afterwards.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Final

from handfast_sidecar.errors import BadConfig, BadInput
from handfast_sidecar.wellknown import (
    ADMIN_PORT,
    ENV_SKIP_INBOUND_PORTS,
    ENV_SKIP_OUTBOUND_CIDRS,
    ENV_SKIP_OUTBOUND_PORTS,
    SIDECAR_PORTS,
)

Network = IPv4Network | IPv6Network
MAX_ENTRIES: Final = 64
"""Of one list: more is a pod that should be outside the mesh."""
MAX_ENTRY: Final = 64
"""Characters of an entry: the longest address has 45."""
OUTBOUND_RESERVED: Final = SIDECAR_PORTS - {ADMIN_PORT}
"""Outside the pod these are other sidecars' ports. A Prometheus in the mesh may skip 14020, where they have metrics."""


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """Ports from `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Skips:
    """Sorted, and without overlaps."""

    inbound_ports: tuple[PortRange, ...] = ()
    outbound_ports: tuple[PortRange, ...] = ()
    outbound_cidrs: tuple[Network, ...] = ()

    def dump(self) -> dict[str, str]:
        """The environment's variables; what is empty is left out."""
        lists = {
            ENV_SKIP_INBOUND_PORTS: self.inbound_ports,
            ENV_SKIP_OUTBOUND_PORTS: self.outbound_ports,
            ENV_SKIP_OUTBOUND_CIDRS: self.outbound_cidrs,
        }
        return {name: ",".join(map(str, entries)) for name, entries in lists.items() if entries}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Skips":
        """Read what `dump` gave; raises BadConfig that names the variable."""
        name = ""
        try:
            inbound = parse_ports(environment.get(name := ENV_SKIP_INBOUND_PORTS, ""))
            outbound = parse_ports(environment.get(name := ENV_SKIP_OUTBOUND_PORTS, ""), OUTBOUND_RESERVED)
            cidrs = parse_cidrs(environment.get(name := ENV_SKIP_OUTBOUND_CIDRS, ""))
        except BadInput as error:
            raise BadConfig(f"{name}: {error}") from error
        return cls(inbound, outbound, cidrs)


NOTHING: Final = Skips()


def parse_ports(text: str, reserved: frozenset[int] = SIDECAR_PORTS) -> tuple[PortRange, ...]:
    """Ports and ranges such as `9090, 8000-8010`. Raises BadInput; so it does for one that holds a reserved port."""
    return _merged(sorted(_range(entry, reserved) for entry in _entries(text)))


def parse_cidrs(text: str) -> tuple[Network, ...]:
    """Networks and addresses of both families such as `10.1.0.0/16, fd00::7`. Raises BadInput."""
    networks = [_network(entry) for entry in _entries(text)]
    return (
        *collapse_addresses([each for each in networks if isinstance(each, IPv4Network)]),
        *collapse_addresses([each for each in networks if isinstance(each, IPv6Network)]),
    )


def _entries(text: str) -> list[str]:
    entries = [entry for part in text.split(",") if (entry := part.strip())]
    if len(entries) > MAX_ENTRIES:
        raise BadInput(f"it has {len(entries)} entries, at most {MAX_ENTRIES} are taken")
    for entry in entries:
        if len(entry) > MAX_ENTRY:
            raise BadInput(f"the entry {entry[:MAX_ENTRY]!r}... is longer than {MAX_ENTRY} characters")
    return entries


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
    if text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536:
        return int(text)
    raise BadInput(f"{entry!r} is no port: expected a number from 1 to 65535, or a range such as 8000-8010")


def _merged(ranges: Iterable[PortRange]) -> tuple[PortRange, ...]:
    merged: list[PortRange] = []
    for each in ranges:
        if merged and each.first <= merged[-1].last + 1:
            merged[-1] = PortRange(merged[-1].first, max(merged[-1].last, each.last))
        else:
            merged.append(each)
    return tuple(merged)


def _network(entry: str) -> Network:
    expected = "expected an address or a network such as 10.1.0.0/16 or fd00:1::/48"
    address, slash, length = entry.partition("/")
    if "%" in address or (slash and not (length.isascii() and length.isdecimal())):
        raise BadInput(f"{entry!r} is no network: {expected}")
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        raise BadInput(f"{entry!r} is no network: {expected}") from None
    if slash and ip_network(address).network_address != network.network_address:
        raise BadInput(f"{entry!r} has bits behind its prefix: write {network}")
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None and network.prefixlen >= 96:
        raise BadInput(f"{entry!r} is an IPv4 network in IPv6's clothes, which no packet carries: write it as IPv4")
    return network
