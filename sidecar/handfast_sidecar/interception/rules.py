"""The nftables ruleset that brings a pod's TCP to the proxy, as one text that replaces whatever was there.

The one rule: it is declarative. `nft` applies the text as a single transaction, so a restarted init container changes
nothing and no packet ever meets half of it (nft(8), "atomic rule replacement").
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from handfast_sidecar.config.skips import NOTHING, Skips
from handfast_sidecar.wellknown import ADMIN_PORT, INBOUND_PORT, MESH_PORT, OUTBOUND_PORT, PROXY_UID

FAMILY: Final = "inet"
TABLE: Final = "handfast"


@dataclass(frozen=True, slots=True)
class RulesOptions:
    """What the rules depend on; the defaults are what the webhook and the proxy count on."""

    proxy_uid: int = PROXY_UID
    outbound_port: int = OUTBOUND_PORT
    inbound_port: int = INBOUND_PORT
    direct_ports: tuple[int, ...] = (MESH_PORT, ADMIN_PORT)
    """Ports of the proxy that peers and kubelet dial by name. All others arrive at `inbound_port`, also the proxy's own
    two redirect targets: dialled from outside they would look like redirected traffic without an original destination,
    and the proxy recognises and refuses them there."""
    skips: Skips = NOTHING
    """What the pod's owner keeps out of the mesh."""


def ruleset(options: RulesOptions | None = None) -> str:
    """The text for `nft -f -`.

    Naming the table before deleting it makes the deletion succeed on the first run too. The priority is that of
    destination NAT, as a number: nft has its name, dstnat, in prerouting alone. What goes over loopback stays
    as it is: connections within the pod, those to the pod's own address among them, never leave it.
    """
    options = options or RulesOptions()
    outbound = "".join(f"\t\t{rule}\n" for rule in _outbound_skips(options.skips))
    inbound = "".join(f"\t\t{rule}\n" for rule in _let_pass("tcp dport", options.skips.inbound_ports))
    return f"""\
table {FAMILY} {TABLE}
delete table {FAMILY} {TABLE}
table {FAMILY} {TABLE} {{
	chain output {{
		type nat hook output priority -100; policy accept;
		meta skuid {options.proxy_uid} return
		oif "lo" return
{outbound}\
		meta l4proto tcp redirect to :{options.outbound_port}
	}}
	chain prerouting {{
		type nat hook prerouting priority -100; policy accept;
		iif "lo" return
		tcp dport {{ {_elements(options.direct_ports)} }} return
{inbound}\
		meta l4proto tcp redirect to :{options.inbound_port}
	}}
}}
"""


def _outbound_skips(skips: Skips) -> Iterator[str]:
    yield from _let_pass("ip daddr", [each for each in skips.outbound_cidrs if isinstance(each, IPv4Network)])
    yield from _let_pass("ip6 daddr", [each for each in skips.outbound_cidrs if isinstance(each, IPv6Network)])
    yield from _let_pass("tcp dport", skips.outbound_ports)


def _let_pass(field: str, entries: Iterable[object]) -> Iterator[str]:
    elements = _elements(entries)
    if elements:
        yield f"{field} {{ {elements} }} return"


def _elements(entries: Iterable[object]) -> str:
    return ", ".join(map(str, entries))
