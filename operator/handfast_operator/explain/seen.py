"""What sidecars last said of a connection like the one in question."""

from collections.abc import Collection
from dataclasses import dataclass

from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.workload import workload_of
from handfast_operator.evidence.view import EdgeView, EvidenceView, Party
from handfast_operator.explain.parties import Client
from handfast_operator.explain.paths import End


@dataclass(frozen=True, slots=True)
class _Names:
    """What a party may be called in an edge."""

    namespace: str
    names: frozenset[str]
    addresses: frozenset[str]

    def means(self, party: Party) -> bool:
        if party.name in self.addresses:
            return True
        return party.namespace == self.namespace and party.name in self.names


def seen(view: EvidenceView, client: Client, ends: Collection[End], service: str, port: int) -> list[EdgeView]:
    """The edges from the client's workload to these ends, or to the Service (namespace/name) at its port, the latest
    first."""
    source = _of_client(client)
    servers = [(_of_end(each), each.port) for each in ends]
    if service:
        namespace, _, name = service.partition("/")
        servers.append((_Names(namespace, frozenset({f"service/{name}"}), frozenset()), port))
    found = {
        edge.key: edge
        for edge in view.edges
        for names, its_port in servers
        if edge.port == its_port and source.means(edge.source) and names.means(edge.destination)
    }
    return sorted(found.values(), key=lambda edge: edge.last_seen, reverse=True)


def _of_client(client: Client) -> _Names:
    account = f"serviceaccount/{client.account}"
    if client.pod is None:
        return _Names(client.namespace, frozenset({account}), frozenset())
    return _names(client.pod, account)


def _of_end(end: End) -> _Names:
    if end.pod is None:
        return _Names("", frozenset(), frozenset({end.address}))
    return _names(end.pod, f"serviceaccount/{end.pod.service_account}")


def _names(pod: Pod, account: str) -> _Names:
    workload = workload_of(pod)
    return _Names(
        pod.namespace,
        frozenset({f"{workload.kind.lower()}/{workload.name}", f"pod/{pod.name}", account}),
        frozenset(pod.ips),
    )
