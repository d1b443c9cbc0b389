"""Names of Services, answered as a cluster's DNS does (Kubernetes DNS-Based Service Discovery 1.1.0).

Nothing outside the cluster's own domain has an address here: the lab has no way out.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from handfast_lab.api.following import Following
from handfast_lab.api.port import Api
from handfast_lab.network.addresses import CLUSTER_DOMAIN, DNS_SERVICE, Address
from handfast_lab.network.endpoints import SERVICES, SLICES, Service, join

TTL_S: Final = 5
_TYPES: Final = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}


def resolv_conf(namespace: str) -> str:
    """What a pod of this namespace finds in /etc/resolv.conf."""
    searched = " ".join((f"{namespace}.svc.{CLUSTER_DOMAIN}", f"svc.{CLUSTER_DOMAIN}", CLUSTER_DOMAIN))
    return f"nameserver {DNS_SERVICE}\nsearch {searched}\noptions ndots:5\n"


class Names:
    """Answers queries, and keeps what it answers true."""

    def __init__(self, api: Api) -> None:
        self._following = Following(api, SERVICES, SLICES)
        self._zone: dict[dns.name.Name, set[Address]] = {}

    async def run(self, host: str = str(DNS_SERVICE), port: int = 53) -> None:
        """Until cancelled. Raises OSError when the address is taken."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(self), local_addr=(host, port))
        try:
            await self._following.run(self._look)
        finally:
            transport.close()

    async def _look(self) -> None:
        self._zone = zone(join(self._following.all(SERVICES), self._following.all(SLICES)))

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """A name that exists without an address of the family is no error, and one that does not is."""
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        question = query.question[0] if query.question else None
        if question is None or question.name not in self._zone:
            answer.set_rcode(dns.rcode.NXDOMAIN)
            return answer
        wanted = sorted(str(each) for each in self._zone[question.name] if each.version == _TYPES.get(question.rdtype))
        if wanted:
            answer.answer.append(dns.rrset.from_text(question.name, TTL_S, dns.rdataclass.IN, question.rdtype, *wanted))
        return answer


def zone(services: Iterable[Service]) -> dict[dns.name.Name, set[Address]]:
    """Every name with its addresses."""
    names: dict[dns.name.Name, set[Address]] = {}
    for service in services:
        name = dns.name.from_text(f"{service.name}.{service.namespace}.svc.{CLUSTER_DOMAIN}.")
        names.setdefault(name, set()).update(service.addresses)
        if service.headless:
            for hostname, address in service.pods:
                names[name].add(address)
                if hostname:
                    names.setdefault(dns.name.from_text(hostname, name), set()).add(address)
    return names


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, names: Names) -> None:
        self._names = names
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return  # rubbish deserves no answer
        if self._transport is not None:
            self._transport.sendto(self._names.answer(query).to_wire(), address)
