"""A cluster in four stores, as the reflectors would fill them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from handfast_operator.cluster.objects import Node, Pod, parse_pod
from handfast_operator.cluster.services import EndpointSlice, Service, ServicePort, SliceEndpoint
from handfast_operator.cluster.store import Store
from handfast_sidecar.policy.effective import EffectivePolicy, Mode, ModeRule

_versions = count(1)
Object = Pod | Service | EndpointSlice | Node
TRUST_DOMAIN = "test.example"


def pod(name: str, ip: str, *, meshed: bool = True, uid: str = "", **changes: Any) -> Pod:
    """A running pod of the namespace shop."""
    raw = {
        "metadata": {"namespace": "shop", "name": name, "uid": uid or f"uid-{name}", "resourceVersion": "1"},
        "spec": {"serviceAccountName": name},
        "status": {"phase": "Running", "podIPs": [{"ip": ip}]},
    }
    made = replace(parse_pod(raw), resource_version=next(_versions), secret=f"{name}-identity" if meshed else "")
    return replace(made, **changes)


def service(name: str, *ips: str, ports: Sequence[tuple[str, int]] = (("http", 80),)) -> Service:
    return Service("shop", name, next(_versions), ips, tuple(ServicePort(*each) for each in ports))


def endpoint_slice(
    name: str, of: str, ends: Sequence[SliceEndpoint], *, ports: Sequence[tuple[str, int]] = (("http", 8080),)
) -> EndpointSlice:
    return EndpointSlice("shop", name, next(_versions), of, tuple(ServicePort(*each) for each in ports), tuple(ends))


def end(pod_or_ip: Pod | str, *, ready: bool = True, uid: str | None = None, **facts: Any) -> SliceEndpoint:
    """An endpoint that is a pod, or only an address."""
    if isinstance(pod_or_ip, Pod):
        return SliceEndpoint(pod_or_ip.ips[0], ready, pod_or_ip.uid, **facts)
    return SliceEndpoint(pod_or_ip, ready, uid or "", **facts)


def modes(default: Mode = Mode.PERMISSIVE, **ports: Mode) -> EffectivePolicy:
    """`modes(Mode.STRICT, p9090=Mode.DISABLED)`."""
    return EffectivePolicy(ModeRule(default), {int(name[1:]): ModeRule(mode) for name, mode in ports.items()})


@dataclass
class Compiled:
    policy: EffectivePolicy


class FakePolicies:
    """Policies by pod name, set by hand."""

    def __init__(self) -> None:
        self.revision = 1
        self._by_name: dict[str, EffectivePolicy] = {}
        self._listeners: list[Callable[[Pod], None]] = []

    def compiled(self, pod: Pod) -> Compiled:
        return Compiled(self._by_name.get(pod.name, EffectivePolicy()))

    def subscribe(self, listener: Callable[[Pod], None]) -> None:
        self._listeners.append(listener)

    def set(self, pod: Pod, policy: EffectivePolicy) -> None:
        self._by_name[pod.name] = policy
        self.revision += 1
        for listener in self._listeners:
            listener(pod)


class Cluster:
    """The stores, and shorthands to change them."""

    def __init__(self, *objects: Object) -> None:
        self.pods: Store[Pod] = Store()
        self.services: Store[Service] = Store()
        self.slices: Store[EndpointSlice] = Store()
        self.nodes: Store[Node] = Store()
        self.policies = FakePolicies()
        self.put(*objects)

    def put(self, *objects: Object) -> None:
        for each in objects:
            match each:
                case Pod():
                    self.pods.put(each)
                case Service():
                    self.services.put(each)
                case EndpointSlice():
                    self.slices.put(each)
                case Node():
                    self.nodes.put(each)

    def remove(self, each: Object) -> None:
        match each:
            case Pod():
                self.pods.remove(each.key, next(_versions))
            case Service():
                self.services.remove(each.key, next(_versions))
            case EndpointSlice():
                self.slices.remove(each.key, next(_versions))
            case Node():
                self.nodes.remove(each.key, next(_versions))
