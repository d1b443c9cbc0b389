"""NetworkPolicies that keep sidecars from each other and the directory, or the API server from the webhook."""

from collections.abc import Callable, Iterator

from handfast_operator.checks.check import Check
from handfast_operator.checks.effective import effective_policies, labels_of
from handfast_operator.checks.facts import OWN_PODS, Facts
from handfast_operator.checks.finding import Problem, error
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
from handfast_operator.cluster.workload import workload_of
from handfast_operator.obstacles.closed_ports import Scene, findings_about, findings_about_directory
from handfast_operator.obstacles.finding import Finding
from handfast_operator.obstacles.parties import Grouping, Party, parties, selecting
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.wellknown import DIRECTORY_ACCOUNT, WEBHOOK_ACCOUNT, WEBHOOK_PORT


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
    directory = parties([pod for pod in own if pod.service_account == DIRECTORY_ACCOUNT], labels, policies)
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


CHECK = Check(
    "network-policies",
    lambda _facts: "no NetworkPolicy keeps sidecars, directory and webhook apart",
    _closed,
    (NETWORK_POLICIES, PODS, OWN_PODS, NAMESPACES, SERVICES, MTLS_POLICIES, CLUSTER_MTLS_POLICIES),
)
