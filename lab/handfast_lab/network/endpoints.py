"""Where a Service leads, read from its EndpointSlices: what kube-proxy and a cluster's DNS both need to know. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from handfast_lab.network.addresses import Address

Json = dict[str, Any]
SERVICES: Final = "services"
SLICES: Final = "endpointslices.discovery.k8s.io"
HEADLESS: Final = "None"
_SERVICE_LABEL: Final = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of one Service."""

    name: str
    protocol: str
    port: int
    endpoints: tuple[tuple[Address, int], ...]


@dataclass(frozen=True, slots=True)
class Service:
    """A Service with what stands behind it now."""

    namespace: str
    name: str
    addresses: tuple[Address, ...]
    """Its cluster IPs; none of a headless one."""
    headless: bool
    ports: tuple[ServicePort, ...]
    pods: tuple[tuple[str, Address], ...]
    """Host name ("" when it has none) and address of every endpoint that is ready."""


def join(services: Iterable[Json], slices: Iterable[Json]) -> list[Service]:
    """Services with their endpoints that are ready."""
    behind: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for each in slices:
        meta = each["metadata"]
        behind[meta["namespace"], (meta.get("labels") or {}).get(_SERVICE_LABEL, "")].append(each)
    return [
        _service(each, behind[each["metadata"]["namespace"], each["metadata"]["name"]])
        for each in services
        if each["spec"].get("type") != "ExternalName"
    ]


def _service(service: Json, slices: list[Json]) -> Service:
    spec, meta = service["spec"], service["metadata"]
    ready = [
        (each.get("hostname", ""), ip_address(address), slice_)
        for slice_ in slices
        for each in slice_.get("endpoints") or ()
        if (each.get("conditions") or {}).get("ready") is not False
        for address in each["addresses"]
    ]
    ports = [
        ServicePort(
            port.get("name", ""),
            port.get("protocol", "TCP"),
            port["port"],
            tuple(
                (address, target["port"])
                for _, address, slice_ in ready
                for target in slice_.get("ports") or ()
                if target.get("name", "") == port.get("name", "")
            ),
        )
        for port in spec.get("ports") or ()
    ]
    headless = spec.get("clusterIP") == HEADLESS
    return Service(
        meta["namespace"],
        meta["name"],
        () if headless else tuple(ip_address(each) for each in spec.get("clusterIPs") or ()),
        headless,
        tuple(ports),
        tuple((hostname, address) for hostname, address, _ in ready),
    )
