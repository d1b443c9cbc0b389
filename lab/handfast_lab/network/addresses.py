"""The lab's addresses, as a small cluster has them. They exist in the lab's own network namespace alone. Pure."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

POD_RANGES: Final = (IPv4Network("10.244.0.0/16"), IPv6Network("fd00:10:244::/64"))
SERVICE_RANGES: Final = (IPv4Network("10.96.0.0/16"), IPv6Network("fd00:10:96::/112"))
GATEWAYS: Final = (POD_RANGES[0][1], POD_RANGES[1][1])
"""The bridge's own addresses, which pods send everything to."""
NODE_ADDRESS: Final = IPv4Address("172.30.0.1")
"""Outside the ranges of pods and Services, as a node's is: what a pod with hostNetwork answers at."""
API_SERVICE: Final = SERVICE_RANGES[0][1]
DNS_SERVICE: Final = SERVICE_RANGES[0][10]
API_PORT: Final = 6443
CLUSTER_DOMAIN: Final = "cluster.local"

Address = IPv4Address | IPv6Address


class AddressesUsedUp(Exception):
    """No address is left in a range: end some pods or Services."""


class Addresses:
    """Hands out the free addresses of a range, lowest first; what was given back last comes last."""

    def __init__(self, network: IPv4Network | IPv6Network, first: int) -> None:
        self._network = network
        self._next = first
        self._returned: list[Address] = []

    def take(self) -> Address:
        """One that nobody has. Raises AddressesUsedUp."""
        if self._next < min(self._network.num_addresses, 1 << 16) - 1:
            self._next += 1
            return self._network[self._next - 1]
        if not self._returned:
            raise AddressesUsedUp(f"all addresses of {self._network} are in use")
        return self._returned.pop(0)

    def give_back(self, address: Address) -> None:
        """It may be handed out again."""
        self._returned.append(address)
