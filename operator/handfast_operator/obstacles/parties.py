"""The cluster's pods as NetworkPolicies see them: in groups that no policy tells apart. Pure.

Ten thousand pods of fifty workloads are fifty parties, also where each pod has a label of its own, as those of a
StatefulSet: only labels that some policy selects by count.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from handfast_operator.cluster.network_policies import NetworkPolicy, Peer, PortMatch, Rule
from handfast_operator.cluster.objects import ContainerPort, Pod
from handfast_operator.cluster.workload import Workload, workload_of
from handfast_operator.resources.selectors import Labels, LabelSelector
from handfast_sidecar.wellknown import SIDECAR_PORTS


@dataclass(slots=True)
class Party:
    """Pods of one workload."""

    workload: Workload
    namespace_labels: Labels
    labels: Labels
    """Those that some policy selects by."""
    ports: tuple[ContainerPort, ...]
    addresses: tuple[str, ...] = ()
    """Further addresses that lead to it: of its Service."""
    pods: list[Pod] = field(default_factory=list)

    @property
    def first(self) -> Pod:
        """The one that is told of; the same each time, as long as it lives."""
        return min(self.pods, key=lambda pod: pod.name)

    def is_alone_as(self, other: "Party") -> bool:
        """Whether both are one and the same pod: no policy stands between a pod and itself."""
        return self is other and len(self.pods) == 1


class Grouping:
    """Pods become parties, one by one: ten thousand at once would keep the loop from its work."""

    def __init__(self, policies: Iterable[NetworkPolicy], namespace_labels: Callable[[str], Labels]) -> None:
        self._keys = {key for policy in policies for key in _keys(policy)}
        self._namespace_labels = namespace_labels
        self._found: dict[tuple[Workload, tuple[tuple[str, str], ...], tuple[ContainerPort, ...]], Party] = {}

    def add(self, pod: Pod) -> None:
        labels = {key: value for key, value in pod.labels.items() if key in self._keys}
        workload = workload_of(pod)
        key = (workload, tuple(sorted(labels.items())), pod.ports)
        party = self._found.get(key)
        if party is None:
            party = self._found[key] = Party(workload, self._namespace_labels(pod.namespace), labels, pod.ports)
        party.pods.append(pod)

    def parties(self) -> list[Party]:
        """In an order that does not depend on the order of the pods."""
        order = sorted(self._found, key=lambda each: (str(each[0]), each[1], str(each[2])))
        return [self._found[key] for key in order]


def parties(
    pods: Iterable[Pod], namespace_labels: Callable[[str], Labels], policies: Iterable[NetworkPolicy]
) -> list[Party]:
    """The parties of a few pods."""
    grouping = Grouping(policies, namespace_labels)
    for pod in pods:
        grouping.add(pod)
    return grouping.parties()


def selecting(policies: Iterable[NetworkPolicy], party: Party) -> list[NetworkPolicy]:
    """The policies whose podSelector means a party, by name."""
    namespace = party.workload.namespace
    found = (each for each in policies if each.namespace == namespace and each.selector.matches(party.labels))
    return sorted(found, key=lambda each: each.name)


def means(policy: NetworkPolicy, rule: Rule, party: Party) -> bool:
    """Whether a rule's `from` or `to` holds for some pod of a party."""
    return rule.peers is None or any(_peer_means(policy, peer, party) for peer in rule.peers)


def application_ports(rule: Rule, server: Party) -> Iterator[PortMatch]:
    """The entries of a rule by which it admits ports of a server that are no sidecar's."""
    for each in rule.ports or ():
        if each.name:
            admitted = {port.port for port in server.ports if port.name == each.name}
        else:
            # One more than the sidecar has is enough to tell.
            admitted = set(range(each.first, min(each.last, each.first + len(SIDECAR_PORTS)) + 1))
        if admitted - SIDECAR_PORTS:
            yield each


def _peer_means(policy: NetworkPolicy, peer: Peer, party: Party) -> bool:
    block = peer.block
    if block is not None:
        addresses = (ip for pod in party.pods for ip in pod.ips)
        return any(block.contains(each) for each in (*addresses, *party.addresses))
    return peer.selects(policy.namespace, party.workload.namespace, party.namespace_labels, party.labels)


def _keys(policy: NetworkPolicy) -> Iterator[str]:
    """The pod labels that a policy selects by."""
    rules = (*(policy.ingress or ()), *(policy.egress or ()))
    selectors: list[LabelSelector | None] = [policy.selector]
    selectors += [peer.pods for rule in rules for peer in rule.peers or ()]
    for selector in selectors:
        if selector is not None:
            yield from (requirement.key for requirement in selector.requirements)
