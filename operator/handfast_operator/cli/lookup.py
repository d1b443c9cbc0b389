"""From what is named on the command line to pods, Services and addresses."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from handfast_operator.cli.errors import CliError
from handfast_operator.cli.reader import Reader
from handfast_operator.cli.subject import ACCOUNT, ADDRESS, ANY, COLLECTIONS, POD, SERVICE, WORKLOADS, Subject
from handfast_operator.cluster.kinds import ENDPOINT_SLICES, PODS, SERVICES
from handfast_operator.cluster.objects import Pod, parse_pod
from handfast_operator.cluster.services import EndpointSlice, Service, parse_endpoint_slice, parse_service
from handfast_operator.explain.parties import Target
from handfast_operator.resources.answer import told_selector
from handfast_sidecar.config.ports import port_number

Raw = Mapping[str, Any]
_SERVICE_NAME: Final = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Server:
    """What is dialled, and all that stands behind it."""

    name: str
    port: int
    targets: tuple[Target, ...]
    pods: tuple[Pod, ...] = ()
    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    service: str = ""
    """namespace/name, where it is a Service."""
    namespaces: frozenset[str] = field(default_factory=frozenset)


async def pods_of(reader: Reader, subject: Subject) -> list[Pod]:
    """The pods that a name stands for, the fittest first. Raises CliError where there is none, ApiError."""
    if subject.kind in (ANY, POD):
        raw = await reader.one(PODS, subject.namespace, subject.name)
        if raw is None:
            hint = "; for a workload write its kind, such as deployment/NAME" if subject.kind == ANY else ""
            raise CliError(f"there is no pod {subject.namespace}/{subject.name}{hint}")
        return [parse_pod(raw)]
    if subject.kind == ACCOUNT:
        params = {"fieldSelector": f"spec.serviceAccountName={subject.name}"}
    elif subject.kind in WORKLOADS:
        owner = await reader.named(COLLECTIONS[subject.kind], subject.namespace, subject.name, subject.kind)
        params = {"labelSelector": told_selector(owner["spec"].get("selector") or {})}
    else:
        raise CliError(f"{subject} is no pod and has none")
    found = [parse_pod(each) for each in await reader.many(PODS, subject.namespace, **params)]
    if not found:
        raise CliError(f"{subject} has no pod")
    return sorted(found, key=lambda pod: (pod.terminal, pod.deleting, not pod.ready, pod.name))


async def server_of(reader: Reader, subject: Subject, port: str) -> Server:
    """What stands behind a destination. Raises CliError, ApiError."""
    if subject.kind == ADDRESS:
        return await _at_address(reader, subject.name, port)
    if subject.kind == SERVICE:
        raw = await reader.named(SERVICES, subject.namespace, subject.name, "Service")
        return await _behind(reader, raw, port)
    if subject.kind == ANY:
        pod, service = await asyncio.gather(
            reader.one(PODS, subject.namespace, subject.name), reader.one(SERVICES, subject.namespace, subject.name)
        )
        if pod is None and service is not None:
            return await _behind(reader, service, port)
        if pod is None:
            raise CliError(f"there is neither a pod nor a Service {subject.namespace}/{subject.name}")
        if service is not None:
            reader.notes.append(
                f"{subject.name} is taken for the pod; there is a Service of that name too: service/{subject.name}"
            )
        return _pods(subject, [parse_pod(pod)], port)
    return _pods(subject, await pods_of(reader, subject), port)


def _pods(subject: Subject, pods: list[Pod], port: str) -> Server:
    number = port_number(port) or next((each.port for pod in pods for each in pod.ports if each.name == port), None)
    if number is None:
        raise CliError(f"{subject} declares no port {port!r}: give its number")
    living = [pod for pod in pods if pod.ips and not pod.terminal]
    if not living:
        raise CliError(f"{subject} has no pod that runs and has an address")
    return Server(
        str(subject),
        number,
        tuple(Target(pod.ips[0], number) for pod in living),
        tuple(pods),
        namespaces=frozenset({subject.namespace}),
    )


async def _behind(reader: Reader, raw: Raw, port: str) -> Server:
    meta, spec = raw["metadata"], raw["spec"]
    name, namespace = meta["name"], meta["namespace"]
    if spec.get("type") == "ExternalName":
        raise CliError(f"the Service {namespace}/{name} is another name for {spec.get('externalName')}: ask about that")
    service = parse_service(raw)
    selector = {"labelSelector": ",".join(f"{key}={value}" for key, value in (spec.get("selector") or {}).items())}
    slices, pods = await asyncio.gather(
        reader.many(ENDPOINT_SLICES, namespace, labelSelector=f"{_SERVICE_NAME}={name}"),
        reader.many(PODS, namespace, **(selector if spec.get("selector") else {})),
    )
    parsed = tuple(parse_endpoint_slice(each) for each in slices)
    number = port_number(port) or next((each.port for each in service.ports if each.name == port), None)
    if number is None:
        known = ", ".join(f"{each.name or 'unnamed'} ({each.port})" for each in service.ports) or "none"
        raise CliError(f"the Service {namespace}/{name} has no TCP port {port!r}; it has: {known}")
    hosts = frozenset(f"{name}{tail}" for tail in _tails(namespace))
    dialled = service.cluster_ips[:1] or _ready(parsed)
    if not dialled:
        raise CliError(f"the Service {namespace}/{name} is headless and has no ready endpoint, so its name is nobody's")
    return Server(
        f"service {namespace}/{name}",
        number,
        tuple(Target(address, number, hosts) for address in dialled),
        tuple(parse_pod(each) for each in pods),
        (service,),
        parsed,
        f"{namespace}/{name}",
        namespaces=frozenset({namespace}),
    )


def _tails(namespace: str) -> Iterable[str]:
    return ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")


def _ready(slices: Iterable[EndpointSlice]) -> tuple[str, ...]:
    """What the name of a headless Service resolves to."""
    return tuple(dict.fromkeys(end.address for each in slices for end in each.endpoints if end.ready))


async def _at_address(reader: Reader, address: str, port: str) -> Server:
    number = port_number(port)
    if number is None:
        raise CliError(f"an address has ports by number alone, and {port!r} is none")
    nothing: list[Raw] = []
    consequence = f"whose address {address} is cannot be told"
    pods, services = await asyncio.gather(
        reader.permitted(
            reader.many(PODS, fieldSelector=f"status.podIP={address}"), nothing, consequence, matters=True
        ),
        reader.permitted(reader.many(SERVICES), nothing, consequence, matters=True),
    )
    for raw in services:
        if address in parse_service(raw).cluster_ips:
            found = await _behind(reader, raw, port)
            return Server(
                found.name,
                number,
                (Target(address, number, found.targets[0].hosts),),
                found.pods,
                found.services,
                found.slices,
                found.service,
                namespaces=found.namespaces,
            )
    if not pods and ":" in address:
        # The API server selects by a pod's first address alone, and in most clusters of two families that is IPv4.
        everywhere = await reader.permitted(reader.many(PODS), nothing, consequence, matters=True)
        pods = [each for each in everywhere if address in parse_pod(each).ips]
    parsed = tuple(parse_pod(each) for each in pods)
    return Server(
        address,
        number,
        (Target(address, number),),
        parsed,
        namespaces=frozenset(pod.namespace for pod in parsed if not pod.host_network),
    )
