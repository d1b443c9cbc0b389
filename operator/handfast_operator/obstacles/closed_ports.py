"""NetworkPolicies that admit what applications say to each other, but not what their sidecars say. Pure.

As the API means it: a pod that a policy selects accepts what some rule of some policy admits, and nothing else. The one
rule: only pods that are there are spoken of, so a policy that hinders nobody is told to nobody; and who is shut off
from everything is so on purpose.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from handfast_operator.cluster.network_policies import NetworkPolicy, PortMatch, Rule
from handfast_operator.obstacles.finding import Finding
from handfast_operator.obstacles.parties import Party, application_ports, means, selecting
from handfast_sidecar.policy.effective import EffectivePolicy, Mode
from handfast_sidecar.wellknown import DIRECTORY_ACCOUNT, DIRECTORY_PORT, MESH_PORT, SIDECAR_PORTS

MESH_PORT_BLOCKED: Final = "MeshPortBlocked"
DIRECTORY_BLOCKED: Final = "DirectoryBlocked"
_DNS: Final = PortMatch(53, 53)
_TIMES_OUT: Final = "where their sidecars meet: these connections time out (handshake_unreachable)"
_BLIND: Final = (
    "without it a sidecar refuses connections to addresses of the cluster that it does not know yet "
    "(directory_unavailable)"
)

Stated = tuple[NetworkPolicy, Rule]
"""A rule and the policy that states it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that is judged together."""

    meshed: Sequence[Party]
    directory: Sequence[Party]
    """Pods of handfast-directory."""
    policies: Sequence[NetworkPolicy]
    policy_of: Callable[[Party], EffectivePolicy]


def findings_about(party: Party, scene: Scene) -> Iterator[Finding]:
    """What stands in the way of a meshed party, as server and as client."""
    selected = selecting(scene.policies, party)
    ingress = [(policy, rule) for policy in selected for rule in policy.ingress or ()]
    yield from _as_server(party, ingress, scene)
    egress = [(policy, rule) for policy in selected for rule in policy.egress or ()]
    yield from _as_client(party, egress, scene)
    yield from _to_directory(party, egress, scene)


def findings_about_directory(scene: Scene) -> Iterator[Finding]:
    """Policies in the operator's own namespace that keep sidecars from the directory."""
    for server in scene.directory:
        selected = [each for each in selecting(scene.policies, server) if each.ingress is not None]
        ingress = [(policy, rule) for policy in selected for rule in policy.ingress or ()]
        admitting = [each for each in ingress if each[1].admits(DIRECTORY_PORT, server.ports)]
        left_out = next((client for client in scene.meshed if not _some_means(admitting, client)), None)
        if selected and left_out is not None:
            yield _finding(
                server,
                selected[0],
                DIRECTORY_BLOCKED,
                f"{_named(selected)} does not admit TCP port {DIRECTORY_PORT} of {DIRECTORY_ACCOUNT} from "
                f"{left_out.workload}: {_BLIND}. Add an ingress rule for all meshed pods: "
                f"{{ports: [{{protocol: TCP, port: {DIRECTORY_PORT}}}]}}",
            )


def _as_server(server: Party, ingress: Sequence[Stated], scene: Scene) -> Iterator[Finding]:
    opened, closed = _sorted(ingress, server)
    told: set[str] = set()
    for policy, rule in closed:
        port = next((each for each in application_ports(rule, server) if _takes_tunnels(each, server, scene)), None)
        for client in () if port is None or policy.uid in told else scene.meshed:
            if client.is_alone_as(server) or not means(policy, rule, client) or _some_means(opened, client):
                continue
            told.add(policy.uid)
            yield _finding(
                server,
                policy,
                MESH_PORT_BLOCKED,
                f"{policy} admits TCP port {port} of {server.workload} from {client.workload}, but not port "
                f"{MESH_PORT}, {_TIMES_OUT}. Add to the ports of its ingress rule: "
                f"{{protocol: TCP, port: {MESH_PORT}}}",
            )
            break


def _as_client(client: Party, egress: Sequence[Stated], scene: Scene) -> Iterator[Finding]:
    told: set[str] = set()
    # What admits the mesh port of everybody need not be held against every server.
    for policy, rule in (each for each in egress if not _opens_by_number(each[1])):
        declared: dict[object, list[PortMatch]] = {}
        for server in () if policy.uid in told else scene.meshed:
            # Thousands of servers declare a handful of different ports.
            if server.ports not in declared:
                declared[server.ports] = list(_declared(rule, server))
            if not declared[server.ports] or client.is_alone_as(server) or not means(policy, rule, server):
                continue
            port = next((each for each in declared[server.ports] if _takes_tunnels(each, server, scene)), None)
            if port is None or _some_means(_sorted(egress, server)[0], server):
                continue
            told.add(policy.uid)
            yield _finding(
                client,
                policy,
                MESH_PORT_BLOCKED,
                f"{policy} lets {client.workload} connect to TCP port {port} of {server.workload}, but not to port "
                f"{MESH_PORT}, {_TIMES_OUT}. Add to the ports of its egress rule: {{protocol: TCP, port: {MESH_PORT}}}",
            )
            break


def _to_directory(client: Party, egress: Sequence[Stated], scene: Scene) -> Iterator[Finding]:
    """Only of those who may connect to something: DNS alone is no conversation."""
    if not any(_speaks(rule) for _, rule in egress):
        return
    for directory in scene.directory:
        admitting = [each for each in egress if each[1].admits(DIRECTORY_PORT, directory.ports)]
        if not _some_means(admitting, directory):
            namespace = directory.workload.namespace
            policies = list(dict.fromkeys(policy for policy, _ in egress))
            yield _finding(
                client,
                policies[0],
                DIRECTORY_BLOCKED,
                f"{_named(policies)} does not let {client.workload} connect to TCP port {DIRECTORY_PORT} of "
                f"{DIRECTORY_ACCOUNT}: {_BLIND}. Add an egress rule: {{to: [{{namespaceSelector: {{matchLabels: "
                f"{{kubernetes.io/metadata.name: {namespace}}}}}}}], "
                f"ports: [{{protocol: TCP, port: {DIRECTORY_PORT}}}]}}",
            )
            return


def _sorted(rules: Sequence[Stated], server: Party) -> tuple[list[Stated], list[Stated]]:
    """Those that admit the mesh port of a server, and the others."""
    opened = [each for each in rules if each[1].admits(MESH_PORT, server.ports)]
    return opened, [each for each in rules if not each[1].admits(MESH_PORT, server.ports)]


def _opens_by_number(rule: Rule) -> bool:
    """Whether it admits the mesh port of whatever server it means."""
    return rule.admits(MESH_PORT, ())


def _declared(rule: Rule, server: Party) -> Iterator[PortMatch]:
    """Ports of the application that a rule admits and a server declares: egress rules speak of many servers at once."""
    for each in application_ports(rule, server):
        if any(each.admits(port.port, server.ports) for port in server.ports if port.port not in SIDECAR_PORTS):
            yield each


def _takes_tunnels(port: PortMatch, server: Party, scene: Scene) -> bool:
    """Not where the mode is Disabled: plaintext needs no other port."""
    policy = scene.policy_of(server)
    numbers = {each.port for each in server.ports if port.admits(each.port, server.ports)} - SIDECAR_PORTS
    return any(policy.rule_for(number).mode is not Mode.DISABLED for number in numbers or {port.first})


def _speaks(rule: Rule) -> bool:
    return rule.ports is None or any(each != _DNS for each in rule.ports)


def _some_means(rules: Iterable[Stated], party: Party) -> bool:
    return any(means(policy, rule, party) for policy, rule in rules)


def _named(policies: Sequence[NetworkPolicy]) -> str:
    others = f" (with {len(policies) - 1} more that select these pods)" if len(policies) > 1 else ""
    return f"{policies[0]}{others}"


def _finding(party: Party, policy: NetworkPolicy, reason: str, sentence: str) -> Finding:
    return Finding(party.first, f"{policy.uid} {party.workload}", reason, sentence)
