"""Services and EndpointSlices as the API server shows them: what is needed of them, parsed once at the border. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from sys import intern
from typing import Any, Final

from handfast_operator.cluster.objects import Key

Raw = Mapping[str, Any]
AFFINITY_S: Final = 10800
"""Seconds of `sessionAffinity: ClientIP` where the Service does not say: the API's own default."""


@dataclass(frozen=True, slots=True)
class ServicePort:
    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Service:
    """A Service; only its TCP ports."""

    namespace: str
    name: str
    resource_version: int
    cluster_ips: tuple[str, ...]
    """Empty for a headless one."""
    ports: tuple[ServicePort, ...]
    affinity_s: int = 0
    """Seconds of `sessionAffinity: ClientIP`; 0 without it."""
    local: bool = False
    """`internalTrafficPolicy: Local`."""
    publishes_not_ready: bool = False
    """`publishNotReadyAddresses`: its slices call every endpoint ready, and are believed."""

    @property
    def key(self) -> Key:
        return (self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class SliceEndpoint:
    address: str
    ready: bool
    pod_uid: str
    serving: bool = True
    terminating: bool = False
    node: str = ""
    zones: tuple[str, ...] = ()
    """`hints.forZones`."""
    nodes: tuple[str, ...] = ()
    """`hints.forNodes`."""


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """A slice of a Service's endpoints; ports are container ports, by the name of the Service's port."""

    namespace: str
    name: str
    resource_version: int
    service: str
    ports: tuple[ServicePort, ...]
    endpoints: tuple[SliceEndpoint, ...]

    @property
    def key(self) -> Key:
        return (self.namespace, self.name)


def parse_service(raw: Raw) -> Service:
    """A Service from the API server's JSON."""
    meta, spec = raw["metadata"], raw["spec"]
    return Service(
        namespace=intern(meta["namespace"]),
        name=meta["name"],
        resource_version=int(meta["resourceVersion"]),
        cluster_ips=tuple(ip for ip in spec.get("clusterIPs", ()) if ip and ip != "None"),
        ports=_tcp_ports(spec.get("ports") or ()),
        affinity_s=_affinity_s(spec),
        local=spec.get("internalTrafficPolicy") == "Local",
        publishes_not_ready=bool(spec.get("publishNotReadyAddresses")),
    )


def parse_endpoint_slice(raw: Raw) -> EndpointSlice:
    """An EndpointSlice (discovery.k8s.io/v1) from the API server's JSON."""
    meta = raw["metadata"]
    return EndpointSlice(
        namespace=intern(meta["namespace"]),
        name=meta["name"],
        resource_version=int(meta["resourceVersion"]),
        service=meta.get("labels", {}).get("kubernetes.io/service-name", ""),
        ports=_tcp_ports(raw.get("ports") or ()),
        endpoints=tuple(_slice_endpoint(each, address) for each, address in _addressed(raw.get("endpoints") or ())),
    )


def _tcp_ports(raw: Any) -> tuple[ServicePort, ...]:
    return tuple(
        ServicePort(intern(each.get("name") or ""), each["port"])
        for each in raw
        if each.get("protocol", "TCP") == "TCP" and each.get("port")
    )


def _affinity_s(spec: Raw) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    return int(((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds", AFFINITY_S))


def _addressed(endpoints: Iterable[Raw]) -> Iterator[tuple[Raw, str]]:
    """The endpoints that have an IP address, in the form in which pods have theirs. Names (`addressType: FQDN`) and
    IPv4 in IPv6's clothes are left out: nobody could tell whose they are."""
    for each in endpoints:
        with suppress(ValueError, IndexError, TypeError):
            address = ip_address(each["addresses"][0])
            if isinstance(address, IPv4Address) or address.ipv4_mapped is None:
                yield each, str(address)


def _slice_endpoint(raw: Raw, address: str) -> SliceEndpoint:
    """Without a condition it is ready, serving and not terminating, as kube-proxy has it (endpointslicecache.go)."""
    target, hints = raw.get("targetRef") or {}, raw.get("hints") or {}
    conditions = raw.get("conditions") or {}
    return SliceEndpoint(
        address=address,
        ready=conditions.get("ready") is not False,
        pod_uid=target.get("uid", "") if target.get("kind") == "Pod" else "",
        serving=conditions.get("serving") is not False,
        terminating=conditions.get("terminating") is True,
        node=intern(raw.get("nodeName") or ""),
        zones=tuple(intern(each["name"]) for each in hints.get("forZones") or ()),
        nodes=tuple(intern(each["name"]) for each in hints.get("forNodes") or ()),
    )
