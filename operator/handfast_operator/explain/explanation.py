"""The whole answer to "why": facts in, explanation out, as data (docs/cli.md, "why as data")."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from handfast_operator.cluster.objects import Pod
from handfast_operator.evidence.view import EdgeView, EvidenceView, to_json
from handfast_operator.explain.fields import Link, fields, links
from handfast_operator.explain.parties import Client, Target, obstacles, pod_to_json
from handfast_operator.explain.paths import ALLOWED, AUDITED, REFUSED, End, Path, paths
from handfast_operator.explain.seen import seen
from handfast_operator.explain.world import World

VERSION: Final = 1
MIXED: Final = "mixed"
"""Some endpoints let it through, others refuse it."""
UNKNOWN: Final = "unknown"
"""Something that it rests on could not be read."""


@dataclass(frozen=True, slots=True)
class Question:
    """Who wants to reach whom."""

    client: Client
    name: str
    """The server, as it was found: `service shop/orders`, `pod shop/orders-0`, `10.0.0.7`."""
    port: int
    targets: tuple[Target, ...]
    service: str = ""
    """namespace/name, where it is a Service."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What can be said."""

    question: Question
    verdict: str
    """`allowed`, `audited`, `refused`, `mixed` or `unknown`."""
    paths: tuple[Path, ...]
    chains: tuple[tuple[Link, ...], ...]
    """Of each path, the policies of the server that judges."""
    seen: tuple[EdgeView, ...] | None
    """The latest first; None: nobody could be asked."""
    at: float
    """Unix time of what was seen."""
    warnings: tuple[str, ...]
    """What keeps it from working now, whatever the policies say."""
    notes: tuple[str, ...]
    unread: tuple[str, ...]
    trust_domain: str

    def to_json(self) -> dict[str, Any]:
        """Fields are added, never changed in meaning, within one `version`."""
        return {
            "version": VERSION,
            "verdict": self.verdict,
            "from": _client_to_json(self.question.client),
            "to": {"name": self.question.name, "port": self.question.port},
            "trustDomain": self.trust_domain,
            "paths": [self._path_to_json(number) for number in range(len(self.paths))],
            "lastSeen": None if self.seen is None else to_json(EvidenceView(self.at, self.seen))["edges"],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "unread": list(self.unread),
        }

    def _path_to_json(self, number: int) -> dict[str, Any]:
        path = self.paths[number]
        return path.to_json() | {
            "endpoints": [_end_to_json(each, self.trust_domain) for each in path.ends],
            "policies": [each.to_json() for each in self.chains[number]],
        }


def explain(world: World, question: Question, view: EvidenceView | None, notes: Sequence[str] = ()) -> Explanation:
    """`view`: what sidecars reported; None where nobody could be asked, and `notes` says why."""
    found = paths(world, question.client, question.targets)
    ends = [end for path in found for end in path.ends]
    edges = tuple(seen(view, question.client, ends, question.service, question.port)) if view is not None else None
    return Explanation(
        question,
        _verdict(world, found),
        tuple(found),
        tuple(_chain(world, path) for path in found),
        edges,
        view.at if view is not None else 0.0,
        tuple(_warnings(question.client, ends)),
        (*world.facts.notes, *notes, *_about_keys(world, found)),
        world.facts.unread,
        world.trust_domain,
    )


def _verdict(world: World, found: Sequence[Path]) -> str:
    if world.facts.unread or not found:
        return UNKNOWN
    told = {each.verdict for each in found}
    if REFUSED in told:
        return MIXED if len(told) > 1 else REFUSED
    return AUDITED if AUDITED in told else ALLOWED


def _chain(world: World, path: Path) -> tuple[Link, ...]:
    pod = next((each.pod for each in path.ends if each.pod is not None and each.pod.meshed), None)
    return tuple(chain_of(world, pod)) if pod is not None else ()


def chain_of(world: World, pod: Pod) -> list[Link]:
    """The policies that select a pod, with what becomes of each."""
    return links(world.chain(pod), world.facts.specs, fields(world.compiled(pod), world.trust_domain))


def _warnings(client: Client, ends: Sequence[End]) -> list[str]:
    found = obstacles(client.pod, "client") if client.pod is not None else []
    servers = {each.pod.uid: each.pod for each in ends if each.pod is not None}
    return [*found, *(said for pod in servers.values() for said in obstacles(pod, "server"))]


def _about_keys(world: World, found: Sequence[Path]) -> list[str]:
    pods = {each.pod.uid: each.pod for path in found for each in path.ends if each.pod is not None}
    for pod in pods.values():
        policy = world.compiled(pod).policy
        rules = [*policy.deny.rules, *(policy.allow.rules.rules if policy.allow is not None else ())]
        if any(source.spki for rule in rules for source in rule.sources or ()):
            return ["rules that ask for a key (spkiSHA256) are judged as if the client had another one"]
    return []


def _client_to_json(client: Client) -> dict[str, Any]:
    if client.pod is not None:
        return pod_to_json(client.pod, client.identity)
    return {
        "kind": "ServiceAccount",
        "namespace": client.namespace,
        "name": client.account,
        "identity": str(client.identity),
    }


def _end_to_json(end: End, trust_domain: str) -> dict[str, Any]:
    document: dict[str, Any] = {"address": end.address, "port": end.port, "pod": None}
    if end.pod is not None:
        identity = Client.of(end.pod, trust_domain).identity
        document["pod"] = pod_to_json(end.pod, identity)
    return document
