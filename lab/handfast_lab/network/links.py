"""The bridge, and each pod's network namespace on it: one veth pair, an IPv4 and an IPv6 address.

All traffic of pods passes the node's own network stack, also between two pods: their addresses stand alone (/32, /128)
and lead to the bridge's, so that what the node rewrites for Services is rewritten back on the way home.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from handfast_lab.network import isolation
from handfast_lab.network.addresses import (
    DNS_SERVICE,
    GATEWAYS,
    NODE_ADDRESS,
    POD_RANGES,
    SERVICE_RANGES,
    Addresses,
)
from handfast_lab.network.commands import run

BRIDGE: Final = "pods0"
_BRIDGE_MAC: Final = "0a:58:0a:f4:00:01"
"""A bridge without an address of its own has the lowest of its ports': it changes as pods come and go, and pods send to
the one of a pod that has gone, until the node next asks for them. The CNI plugin `bridge` sets it for that reason."""
_SETTINGS: Final = (
    "net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv4.conf.default.send_redirects=0",
    "net.ipv6.conf.all.forwarding=1",
    "net.bridge.bridge-nf-call-iptables=0",
    "net.bridge.bridge-nf-call-ip6tables=0",
)
"""Redirects would teach pods a way around the node. A bridge that rewrites addresses itself, as where the module
br_netfilter is loaded, would send to a port that the pods' ports are kept apart from."""

_POD_SETTINGS: Final = ("net.ipv4.ip_unprivileged_port_start=0", "net.ipv6.conf.eth0.accept_redirects=0")
"""As containerd does: a user other than root may serve port 80. And for IPv6 nothing else keeps the node's redirects
away: who follows one looks for a neighbour whom it cannot hear."""


@dataclass(frozen=True, slots=True)
class PodLink:
    """A pod's place in the network."""

    addresses: tuple[str, ...]
    """IPv4 first, IPv6 second."""
    netns: Path
    """What nsenter(1) and setns(2) take."""
    interface: str
    """The node's end."""


class PodNetwork:
    """Makes and ends the pods' namespaces."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._free = tuple(Addresses(network, first=10) for network in POD_RANGES)
        self._links: dict[str, PodLink] = {}
        self._made = 0

    async def start(self) -> None:
        """Make the bridge and the node's own addresses. Raises CommandFailed."""
        self._state.mkdir(parents=True)
        await run(["sysctl", "--quiet", "--ignore", "--write", *_SETTINGS])
        await _ip(
            "link set lo up",
            f"addr add {NODE_ADDRESS}/32 dev lo",
            f"addr add {DNS_SERVICE}/32 dev lo",
            f"link add {BRIDGE} type bridge forward_delay 0",
            f"link set {BRIDGE} address {_BRIDGE_MAC}",
            f"addr add {GATEWAYS[0]}/{POD_RANGES[0].prefixlen} dev {BRIDGE}",
            f"addr add {GATEWAYS[1]}/{POD_RANGES[1].prefixlen} dev {BRIDGE} nodad",
            f"link set {BRIDGE} up",
            # Nobody has these addresses: what the node sends there is rewritten before it leaves.
            f"route add {SERVICE_RANGES[0]} dev {BRIDGE}",
            f"route add {SERVICE_RANGES[1]} dev {BRIDGE}",
        )

    async def attach(self, pod_uid: str) -> PodLink:
        """A namespace of the pod's own, reachable. Raises CommandFailed, AddressesUsedUp."""
        addresses = tuple(range_.take() for range_ in self._free)
        self._made += 1
        link = PodLink(tuple(map(str, addresses)), self._state / pod_uid, f"pod{self._made}")
        self._links[pod_uid] = link
        link.netns.touch()
        await run(["unshare", f"--net={link.netns}", "true"])
        await _ip(
            f"link add {link.interface} type veth peer name eth0 netns {link.netns}",
            f"link set {link.interface} master {BRIDGE} up",
            # Two pods hear each other through the node alone.
            f"link set {link.interface} type bridge_slave isolated on",
        )
        inside = ["nsenter", f"--net={link.netns}"]
        await run([*inside, "sysctl", "--quiet", "--write", *_POD_SETTINGS])
        await run(
            [*inside, "ip", "-batch", "-"],
            "\n".join(
                (
                    "link set lo up",
                    f"addr add {addresses[0]}/32 dev eth0",
                    f"addr add {addresses[1]}/128 dev eth0 nodad",
                    "link set eth0 up",
                    f"route add {GATEWAYS[0]} dev eth0 src {addresses[0]}",
                    f"route add default via {GATEWAYS[0]} src {addresses[0]}",
                    f"route add {GATEWAYS[1]} dev eth0 src {addresses[1]}",
                    f"route add default via {GATEWAYS[1]} dev eth0 src {addresses[1]}",
                )
            ),
        )
        return link

    async def release(self, pod_uid: str) -> None:
        """Its namespace goes with its last process; its addresses are free."""
        link = self._links.pop(pod_uid, None)
        if link is None:
            return
        isolation.unbind(link.netns)
        for range_, text in zip(self._free, link.addresses, strict=True):
            range_.give_back(ip_address(text))


async def _ip(*lines: str) -> None:
    await run(["ip", "-batch", "-"], "\n".join(lines))
