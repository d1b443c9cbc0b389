"""NetworkPolicies (networking.k8s.io/v1) as far as they speak of TCP. Parsed once, where one arrives; pure.

What the API leaves to defaults stands here as it is meant: who is isolated, from whom, and at which ports.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from sys import intern
from typing import Any

from handfast_operator.cluster.objects import ContainerPort, Key
from handfast_operator.resources.selectors import Labels, LabelSelector, parse_selector

Raw = Mapping[str, Any]
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class PortMatch:
    """One entry of a rule's `ports`: a name, or numbers from `first` to `last`."""

    first: int = 0
    last: int = 0
    name: str = ""
    """Of a container's port, on the pod that is connected to."""

    def __str__(self) -> str:
        return self.name or (f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}")

    def admits(self, port: int, declared: tuple[ContainerPort, ...]) -> bool:
        """Whether it speaks of a port, of a pod that declares these."""
        if self.name:
            return any(each.name == self.name and each.port == port for each in declared)
        return self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class Block:
    """An ipBlock."""

    network: Network
    without: tuple[Network, ...]

    def contains(self, address: str) -> bool:
        ip = ip_address(address)
        return ip in self.network and not any(ip in each for each in self.without)


@dataclass(frozen=True, slots=True)
class Peer:
    """One entry of `from` or `to`; what is None was left out, and without all three it is nobody."""

    pods: LabelSelector | None = None
    namespaces: LabelSelector | None = None
    block: Block | None = None

    def selects(self, own_namespace: str, namespace: str, namespace_labels: Labels, labels: Labels) -> bool:
        """Whether it means a pod; without a namespaceSelector, only one of the policy's own namespace."""
        if self.pods is None and self.namespaces is None:
            return False
        inside = namespace == own_namespace if self.namespaces is None else self.namespaces.matches(namespace_labels)
        return inside and (self.pods is None or self.pods.matches(labels))


@dataclass(frozen=True, slots=True)
class Rule:
    """Whom and what is admitted."""

    peers: tuple[Peer, ...] | None
    """None: everybody."""
    ports: tuple[PortMatch, ...] | None
    """None: every port; empty: none of TCP."""

    def admits(self, port: int, declared: tuple[ContainerPort, ...]) -> bool:
        """Whether it speaks of a TCP port, of a pod that declares these."""
        return self.ports is None or any(each.admits(port, declared) for each in self.ports)


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """A policy; a direction that is None is not isolated by it."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    selector: LabelSelector
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None

    @property
    def key(self) -> Key:
        return (self.namespace, self.name)

    def __str__(self) -> str:
        return f"NetworkPolicy {self.namespace}/{self.name}"


def parse_network_policy(raw: Raw) -> NetworkPolicy:
    """A NetworkPolicy from the API server's JSON."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    # Without policyTypes: ingress always, egress when there is a rule for it (the API's own default).
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return NetworkPolicy(
        namespace=intern(meta["namespace"]),
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        selector=_selector(spec.get("podSelector") or {}),
        ingress=_rules(spec.get("ingress"), "from") if "Ingress" in types else None,
        egress=_rules(spec.get("egress"), "to") if "Egress" in types else None,
    )


def _rules(raw: Any, direction: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            tuple(_peer(peer) for peer in each[direction]) if each.get(direction) else None,
            tuple(_port(port) for port in each["ports"] if _is_tcp(port)) if each.get("ports") else None,
        )
        for each in raw or ()
    )


def _peer(raw: Raw) -> Peer:
    return Peer(
        parse_selector(raw.get("podSelector")), parse_selector(raw.get("namespaceSelector")), _block(raw.get("ipBlock"))
    )


def _block(raw: Raw | None) -> Block | None:
    """None also for a range that the API server let through and Python does not read: it then means nobody."""
    if raw is None:
        return None
    try:
        return Block(
            ip_network(raw["cidr"], strict=False),
            tuple(ip_network(each, strict=False) for each in raw.get("except") or ()),
        )
    except ValueError:
        return None


def _is_tcp(raw: Raw) -> bool:
    return (raw.get("protocol") or "TCP") == "TCP"


def _port(raw: Raw) -> PortMatch:
    port = raw.get("port")
    if port is None:
        return PortMatch(0, 65535)
    if isinstance(port, str):
        return PortMatch(name=port)
    return PortMatch(port, raw.get("endPort") or port)


def _selector(raw: Raw) -> LabelSelector:
    found = parse_selector(raw)
    assert found is not None  # noqa: S101 - only None gives None
    return found
