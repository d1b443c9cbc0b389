"""The two ends of a connection, as far as the API server shows them."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from handfast_operator.admission.annotations import UnusableAnnotation, Wishes, read_annotations
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.workload import workload_of
from handfast_sidecar.directory.messages import Place
from handfast_sidecar.identity.spiffe import SpiffeId

NO_PLACE: Final = Place()


@dataclass(frozen=True, slots=True)
class Client:
    """Who connects: a pod, or whoever has an identity."""

    identity: SpiffeId
    pod: Pod | None = None
    """None: any meshed pod of the service account."""
    place: Place = NO_PLACE

    @classmethod
    def of(cls, pod: Pod, trust_domain: str, zone: str = "") -> "Client":
        """A pod, with the identity that its service account has."""
        identity = SpiffeId.of_service_account(trust_domain, pod.namespace, pod.service_account)
        return cls(identity, pod, Place(pod.node, zone))

    @property
    def namespace(self) -> str:
        return str(self.identity).split("/")[4]

    @property
    def account(self) -> str:
        """The name of its service account."""
        return str(self.identity).rpartition("/")[2]

    def __str__(self) -> str:
        if self.pod is not None:
            return f"pod {self.pod.namespace}/{self.pod.name}"
        return f"service account {self.namespace}/{self.account}"


@dataclass(frozen=True, slots=True)
class Target:
    """What is dialled."""

    address: str
    """Empty: a Service without endpoints to dial, or a pod without an address."""
    port: int
    """As the application dials it."""
    hosts: frozenset[str] = frozenset()
    """DNS names of it, as an upstream may have them; lower case."""


def wishes(pod: Pod) -> Wishes:
    """What its annotations ask of its sidecar; what the webhook would not have let in asks for nothing."""
    try:
        return read_annotations(pod.annotations, ())
    except UnusableAnnotation:
        return Wishes()


def unredirected(client: Client, target: Target) -> str:
    """Why what a pod dials there does not reach its sidecar; empty: it does."""
    pod = client.pod
    if pod is None:
        return ""
    if not pod.meshed:
        return f"the client, {client}, has no sidecar"
    wished = wishes(pod)
    if not wished.redirected:
        if any(each.port == target.port and each.host in {*target.hosts, target.address} for each in wished.upstreams):
            return ""
        return (
            f"the client, {client}, is in explicit mode (handfast.dev/interception: none), and what it dials other than"
            " its upstreams on loopback goes out as it is"
        )
    if any(target.port in each for each in wished.skips.outbound_ports):
        return f"the annotation handfast.dev/skip-outbound-ports of the client, {client}, names port {target.port}"
    address = ip_address(target.address)
    if any(address in each for each in wished.skips.outbound_cidrs if each.version == address.version):
        return f"the annotation handfast.dev/skip-outbound-cidrs of the client, {client}, names {address}"
    return ""


def unguarded(pod: Pod | None, port: int) -> str:
    """Why plaintext to a port of it is judged by nobody; empty: by its sidecar."""
    if pod is None:
        return "what answers there is no pod that Handfast knows of"
    name = f"pod {pod.namespace}/{pod.name}"
    if not pod.meshed:
        return f"the server, {name}, has no sidecar"
    wished = wishes(pod)
    if not wished.redirected:
        return (
            f"the server, {name}, is in explicit mode, where nothing stands before a port that listens on the pod's"
            " address"
        )
    if any(port in each for each in wished.skips.inbound_ports):
        return f"the annotation handfast.dev/skip-inbound-ports of the server, {name}, names port {port}"
    return ""


def obstacles(pod: Pod, which: str) -> list[str]:
    """What keeps a pod from taking part now, whatever its policy says."""
    name, found = f"the {which}, pod {pod.namespace}/{pod.name},", []
    if pod.terminal:
        found.append(f"{name} has ended ({pod.phase})")
    elif pod.deleting:
        found.append(f"{name} is being deleted")
    elif pod.meshed and not pod.proxy_running:
        found.append(f"{name} has a sidecar that does not run: kubectl describe pod -n {pod.namespace} {pod.name}")
    elif not pod.ips:
        found.append(f"{name} has no address yet ({pod.phase})")
    return found


def pod_to_json(pod: Pod, identity: SpiffeId) -> dict[str, Any]:
    """A pod as explanations show it."""
    return {
        "kind": "Pod",
        "namespace": pod.namespace,
        "name": pod.name,
        "workload": str(workload_of(pod)),
        "node": pod.node,
        "addresses": list(pod.ips),
        "serviceAccount": pod.service_account,
        "identity": str(identity) if pod.meshed else "",
        "sidecar": {"running": pod.proxy_running, "image": pod.proxy_image} if pod.meshed else None,
    }


def pod_text(pod: Pod) -> str:
    """A pod in a line."""
    if not pod.meshed:
        sidecar = "no sidecar"
    else:
        sidecar = f"sidecar {'running' if pod.proxy_running else 'NOT RUNNING'}, {pod.proxy_image}"
    return f"pod {pod.namespace}/{pod.name} (node {pod.node or 'none yet'}; {sidecar})"
