"""Cluster IPs, by nft rules in the node's namespace: what kube-proxy does.

The one rule: the whole table is written anew at each change, in one transaction, so it never says half of something.
"""

from collections.abc import Iterable
from typing import Final

from handfast_lab.api.following import Following
from handfast_lab.api.port import Api
from handfast_lab.network.addresses import Address
from handfast_lab.network.commands import run
from handfast_lab.network.endpoints import SERVICES, SLICES, Service, ServicePort, join

TABLE: Final = "inet handfast_lab_services"


class ServiceProxy:
    """Keeps the rules true."""

    def __init__(self, api: Api) -> None:
        self._following = Following(api, SERVICES, SLICES)
        self._written = ""

    async def run(self) -> None:
        """Until cancelled. Raises CommandFailed when the kernel takes no rules."""
        await self._following.run(self._write)

    async def _write(self) -> None:
        rules = render(join(self._following.all(SERVICES), self._following.all(SLICES)))
        if rules != self._written:
            await run(["nft", "-f", "-"], rules)
            self._written = rules


def render(services: Iterable[Service]) -> str:
    """The table for these Services: a connection goes to one endpoint at random, and is refused where there is none."""
    rewritten: list[str] = []
    refused: list[str] = []
    endpoints: set[Address] = set()
    for service in services:
        for port in service.ports:
            for address in service.addresses:
                chosen = [each for each in port.endpoints if each[0].version == address.version]
                match = f"{_family(address)} daddr {address} {port.protocol.lower()} dport {port.port}"
                if chosen:
                    rewritten.append(f"{match} {_rewrite(address, chosen)}")
                    endpoints.update(each for each, _ in chosen)
                else:
                    refused.append(f"{match} {_refusal(port)}")
    return "\n".join(
        (
            f"table {TABLE} {{}}",
            f"delete table {TABLE}",
            f"table {TABLE} {{",
            *_chain("rewritten", "", rewritten),
            *_chain("refused", "", refused),
            *_chain("prerouting", "type nat hook prerouting priority dstnat;", ["jump rewritten"]),
            *_chain("output", "type nat hook output priority -100;", ["jump rewritten"]),
            *_chain("postrouting", "type nat hook postrouting priority srcnat;", _hairpins(endpoints)),
            *_chain("forward", "type filter hook forward priority filter;", ["jump refused"]),
            *_chain("locally", "type filter hook output priority filter;", ["jump refused"]),
            "}",
            "",
        )
    )


def _chain(name: str, hook: str, rules: Iterable[str]) -> list[str]:
    return [f"  chain {name} {{", *([f"    {hook}"] if hook else []), *(f"    {rule}" for rule in rules), "  }"]


def _rewrite(address: Address, endpoints: list[tuple[Address, int]]) -> str:
    targets = ", ".join(f"{index} : {target} . {port}" for index, (target, port) in enumerate(endpoints))
    return f"dnat {_family(address)} to numgen random mod {len(endpoints)} map {{ {targets} }}"


def _refusal(port: ServicePort) -> str:
    return "reject with tcp reset" if port.protocol == "TCP" else "reject"


def _hairpins(endpoints: set[Address]) -> list[str]:
    """A pod that reaches itself through its Service must not see a packet from its own address come in."""
    return [
        f"{_family(each)} saddr {each} {_family(each)} daddr {each} masquerade" for each in sorted(endpoints, key=str)
    ]


def _family(address: Address) -> str:
    return "ip" if address.version == 4 else "ip6"
