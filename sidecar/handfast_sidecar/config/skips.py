"""What of a pod's traffic stays as it is: ports and networks that are not redirected to the proxy. Pure.

Written by the pod's owner in annotations, checked by the webhook, and carried to the init container in its environment,
in the same words. `parse_*` and `dump` are inverses up to order: what overlaps or touches is one entry afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Final

from handfast_sidecar.config.environment import read
from handfast_sidecar.config.ports import PortRange, entries, parse_ports
from handfast_sidecar.errors import BadInput
from handfast_sidecar.wellknown import (
    ADMIN_PORT,
    ENV_SKIP_INBOUND_PORTS,
    ENV_SKIP_OUTBOUND_CIDRS,
    ENV_SKIP_OUTBOUND_PORTS,
    SIDECAR_PORTS,
)

Network = IPv4Network | IPv6Network
OUTBOUND_RESERVED: Final = SIDECAR_PORTS - {ADMIN_PORT}
"""Outside the pod these are other sidecars' ports. A Prometheus in the mesh may skip 14020, where they have metrics."""


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
        return cls(
            read(environment, ENV_SKIP_INBOUND_PORTS, parse_ports),
            read(environment, ENV_SKIP_OUTBOUND_PORTS, lambda text: parse_ports(text, OUTBOUND_RESERVED)),
            read(environment, ENV_SKIP_OUTBOUND_CIDRS, parse_cidrs),
        )


NOTHING: Final = Skips()


def parse_cidrs(text: str) -> tuple[Network, ...]:
    """Networks and addresses of both families such as `10.1.0.0/16, fd00::7`. Raises BadInput."""
    networks = [_network(entry) for entry in entries(text)]
    return (
        *collapse_addresses([each for each in networks if isinstance(each, IPv4Network)]),
        *collapse_addresses([each for each in networks if isinstance(each, IPv6Network)]),
    )


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
