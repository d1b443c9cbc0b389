"""What a pod may send unencrypted: to the cluster's own pods and Services, and to addresses that are nobody's. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

from handfast_sidecar.config.ports import is_port
from handfast_sidecar.errors import BadInput

Network = IPv4Network | IPv6Network
MAX_EXCEPTIONS: Final = 64


class Outgoing(StrEnum):
    """What becomes of a connection."""

    ALLOW = "Allow"
    REFUSE = "Refuse"


@dataclass(frozen=True, slots=True)
class OutgoingRule:
    """The word, and the object that said it; nobody: ""."""

    word: Outgoing = Outgoing.ALLOW
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Exempt:
    """A destination that neither rule is about: a network, or a Service."""

    cidr: Network | None = None
    service: str = ""
    """namespace/name."""
    ports: frozenset[int] | None = None
    """As the application dials them. None: every port. Empty: none."""

    def means(self, address: str, port: int, service: str) -> bool:
        """Whether it means what was dialled; `service`: the Service that lives there, if one does."""
        if self.ports is not None and port not in self.ports:
            return False
        if self.cidr is None:
            return bool(self.service) and self.service == service
        ip = ip_address(address)
        return ip.version == self.cidr.version and ip in self.cidr


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """Of one pod. What goes through a tunnel, or by mutual TLS to a declared upstream, is nobody's affair here."""

    unknown: OutgoingRule = OutgoingRule()
    """Addresses that the directory says are nobody's, and those of which nobody said anything."""
    plaintext: OutgoingRule = OutgoingRule()
    """Pods and endpoints of Services that have no sidecar."""
    exempt: tuple[Exempt, ...] = ()

    @property
    def refuses(self) -> bool:
        """Whether there is anything to be asked of it."""
        return self.unknown.word is Outgoing.REFUSE or self.plaintext.word is Outgoing.REFUSE

    def exempts(self, address: str, port: int, service: str) -> bool:
        """Whether a destination may be reached whatever the rules say."""
        return any(each.means(address, port, service) for each in self.exempt)

    def to_json(self) -> dict[str, Any]:
        """As in config.json (docs/protocol.md, "policy")."""
        document: dict[str, Any] = {
            name: {"value": rule.word.value, "from": rule.origin}
            for name, rule in (("unknown", self.unknown), ("plaintext", self.plaintext))
            if rule != OutgoingRule()
        }
        if self.exempt:
            document["except"] = [_exempt_to_json(each) for each in self.exempt]
        return document

    @classmethod
    def from_json(cls, document: Any) -> "OutboundPolicy":
        """Read what `to_json` wrote; raises BadInput, because an unreadable policy must never mean "allow"."""
        if not isinstance(document, dict):
            raise BadInput(f"policy.outbound: expected an object, found {type(document).__name__}")
        exempt = document.get("except", [])
        if not isinstance(exempt, list) or len(exempt) > MAX_EXCEPTIONS:
            raise BadInput(f"policy.outbound.except: expected a list of at most {MAX_EXCEPTIONS}")
        return cls(
            _rule(document, "unknown"),
            _rule(document, "plaintext"),
            tuple(_exempt(each, f"policy.outbound.except[{number}]") for number, each in enumerate(exempt)),
        )


ALL_GOES_OUT: Final = OutboundPolicy()


def _exempt_to_json(each: Exempt) -> dict[str, Any]:
    document: dict[str, Any] = {"service": each.service} if each.cidr is None else {"cidr": str(each.cidr)}
    if each.ports is not None:
        document["ports"] = sorted(each.ports)
    return document


def _rule(document: dict[str, Any], name: str) -> OutgoingRule:
    if name not in document:
        return OutgoingRule()
    try:
        return OutgoingRule(Outgoing(document[name]["value"]), str(document[name].get("from", "")))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(
            f"policy.outbound.{name}.value: expected one of {', '.join(Outgoing)}, found {document[name]!r:.80}"
        ) from None


def _exempt(document: Any, where: str) -> Exempt:
    if not isinstance(document, dict) or len({"cidr", "service"} & set(document)) != 1:
        raise BadInput(f"{where}: expected either `cidr` or `service`")
    cidr, service, ports = document.get("cidr"), document.get("service", ""), document.get("ports")
    if not isinstance(service, str) or not isinstance(cidr, str | None):
        raise BadInput(f"{where}: `cidr` and `service` are strings")
    if not isinstance(ports, list | None) or not all(map(is_port, ports or ())):
        raise BadInput(f"{where}.ports: expected a list of port numbers, found {ports!r:.80}")
    try:
        network = ip_network(cidr) if cidr is not None else None
    except ValueError as error:
        raise BadInput(f"{where}.cidr: {error}") from error
    return Exempt(network, service, None if ports is None else frozenset(ports))
