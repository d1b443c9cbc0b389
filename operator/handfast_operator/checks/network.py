"""NetworkPolicies that keep sidecars from each other and the directory, its replicas from each other, or the API server
from the webhook."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Final

from handfast_operator.checks.check import Check
from handfast_operator.checks.effective import effective_policies, labels_of
from handfast_operator.checks.facts import OWN_PODS, Facts
from handfast_operator.checks.finding import Problem, error, warning
from handfast_operator.cluster.kinds import (
    CLUSTER_MTLS_POLICIES,
    MTLS_POLICIES,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    SERVICES,
)
from handfast_operator.cluster.network_policies import NetworkPolicy, parse_network_policy
from handfast_operator.cluster.objects import Pod, parse_pod
from handfast_operator.cluster.parts import COMPONENT_LABEL, NAME_LABEL
from handfast_operator.cluster.workload import workload_of
from handfast_operator.obstacles.closed_ports import Scene, findings_about, findings_about_directory
from handfast_operator.obstacles.finding import Finding
from handfast_operator.obstacles.parties import Grouping, Party, means, parties, selecting
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.wellknown import DIRECTORY_ACCOUNT, DIRECTORY_HEALTH_PORT, WEBHOOK_ACCOUNT, WEBHOOK_PORT

_ITS_LIKE: Final = f"{{podSelector: {{matchLabels: {{{NAME_LABEL}: handfast, {COMPONENT_LABEL}: directory}}}}}}"
_FROZEN: Final = (
    "a replica that does not hear of the API server cannot tell that another one does, and keeps its sidecars with what"
    " it knew"
)


def _closed(facts: Facts) -> Iterator[Problem]:
    policies = [parse_network_policy(each) for each in facts.of(NETWORK_POLICIES)]
    if not policies:
        return
    labels = labels_of(facts)
    grouping = Grouping(policies, labels)
    for pod in facts.pods:
        if pod.meshed and pod.ips and not pod.terminal and not pod.deleting:
            grouping.add(pod)
    own = [pod for pod in map(parse_pod, facts.of(OWN_PODS)) if pod.ips and not pod.terminal and not pod.deleting]
    replicas = [pod for pod in own if pod.service_account == DIRECTORY_ACCOUNT]
    directory = parties(replicas, labels, policies)
    service = facts.named(SERVICES, DIRECTORY_ACCOUNT)
    for party in directory:
        party.addresses = tuple((service or {"spec": {}})["spec"].get("clusterIPs") or ())
    effective = effective_policies(facts)

    def policy_of(party: Party) -> EffectivePolicy:
        return effective(party.first)

    scene = Scene(grouping.parties(), directory, policies, policy_of)
    told: set[str] = set()
    for party in scene.meshed:
        for found in findings_about(party, scene):
            if found.subject not in told:
                told.add(found.subject)
                yield _problem(found)
    for found in findings_about_directory(scene):
        yield _problem(found)
    yield from _siblings(parties(replicas, labels, policies), policies)
    yield from _webhook([pod for pod in own if pod.service_account == WEBHOOK_ACCOUNT], labels, policies)


def _problem(found: Finding) -> Problem:
    message, _, remedy = found.sentence.partition(". ")
    return error(str(workload_of(found.pod)), message, remedy)


def _webhook(pods: list[Pod], labels: Callable[[str], Labels], policies: list[NetworkPolicy]) -> Iterator[Problem]:
    """The API server is no pod: only a rule for everybody, or an ipBlock that may mean it, lets it in."""
    for party in parties(pods, labels, policies):
        selected = [each for each in selecting(policies, party) if each.ingress is not None]
        admitting = [
            rule
            for policy in selected
            for rule in policy.ingress or ()
            if rule.admits(WEBHOOK_PORT, party.ports)
            and (rule.peers is None or any(peer.block is not None for peer in rule.peers))
        ]
        if selected and not admitting:
            yield error(
                str(workload_of(party.first)),
                f"{selected[0]} does not admit TCP port {WEBHOOK_PORT} of {WEBHOOK_ACCOUNT} from the API server, which"
                " is no pod: no pod that opts in can be created",
                f"add an ingress rule without from: {{ports: [{{protocol: TCP, port: {WEBHOOK_PORT}}}]}}",
            )


def _siblings(directory: list[Party], policies: list[NetworkPolicy]) -> Iterator[Problem]:
    """Replicas of the directory ask each other whether they are ready: a warning, as they do so on a bad day alone."""
    pairs = [(client, server) for client, server in product(directory, directory) if not client.is_alone_as(server)]
    for direction, verb, peers in (("ingress", "admit", "from"), ("egress", "open", "to")):
        closed = (_between(*pair, direction, policies) for pair in pairs)
        found = next((each for each in closed if each is not None), None)
        if found is not None:
            yield warning(
                str(workload_of(directory[0].first)),
                f"{found} does not {verb} TCP port {DIRECTORY_HEALTH_PORT} {peers} other replicas of"
                f" {DIRECTORY_ACCOUNT}: {_FROZEN}",
                f"add an {direction} rule: {{{peers}: [{_ITS_LIKE}],"
                f" ports: [{{protocol: TCP, port: {DIRECTORY_HEALTH_PORT}}}]}}",
            )


def _between(client: Party, server: Party, direction: str, policies: list[NetworkPolicy]) -> NetworkPolicy | None:
    """The first of the policies that close this direction; None: it is open."""
    isolated, peer = (server, client) if direction == "ingress" else (client, server)
    stated = [
        (policy, rules)
        for policy in selecting(policies, isolated)
        if (rules := policy.ingress if direction == "ingress" else policy.egress) is not None
    ]
    admitted = any(
        rule.admits(DIRECTORY_HEALTH_PORT, server.ports) and means(policy, rule, peer)
        for policy, rules in stated
        for rule in rules
    )
    return stated[0][0] if stated and not admitted else None


CHECK = Check(
    "network-policies",
    lambda _facts: "no NetworkPolicy keeps sidecars, directory and webhook apart",
    _closed,
    (NETWORK_POLICIES, PODS, OWN_PODS, NAMESPACES, SERVICES, MTLS_POLICIES, CLUSTER_MTLS_POLICIES),
)
