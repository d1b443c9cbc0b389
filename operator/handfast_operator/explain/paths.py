"""The ways that a connection can take, each with the verdict on it, by the functions that our own parts decide with."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from handfast_operator.cluster.objects import Pod
from handfast_operator.explain.parties import Client, Target, unguarded, unredirected
from handfast_operator.explain.remedies import remedy
from handfast_operator.explain.world import World
from handfast_sidecar.directory.messages import AddressAnswer, Endpoint, ServiceAddress, Transport
from handfast_sidecar.policy.effective import DEFAULT_ORIGIN, EffectivePolicy
from handfast_sidecar.policy.verdict import Verdict, plaintext_verdict, tunnel_verdict
from handfast_sidecar.traffic.endpoint_choice import EndpointChoice
from handfast_sidecar.traffic.locality import within_reach
from handfast_sidecar.traffic.permission import plaintext_permission
from handfast_sidecar.traffic.routing import ByTunnel, Plain, Refuse, Route, route

TUNNEL: Final = "tunnel"
PLAINTEXT: Final = "plaintext"
NOWHERE: Final = "none"
ALLOWED: Final = "allowed"
AUDITED: Final = "audited"
REFUSED: Final = "refused"
NOBODY: Final = "nobody"


@dataclass(frozen=True, slots=True)
class End:
    """One place where a connection arrives."""

    address: str
    port: int
    pod: Pod | None = None


@dataclass(frozen=True, slots=True)
class Path:
    """A way, and what is decided on it; several ends where all of this is the same."""

    way: str
    """`tunnel`, `plaintext`, or `none` where nothing is dialled."""
    verdict: str
    """`allowed`, `audited` (allowed, and told of) or `refused`."""
    judge: str
    """`client`: the client's sidecar; `server`: the server's; `nobody`."""
    rule: str = ""
    """The object that decides."""
    reason: str = "ok"
    sentence: str = ""
    remedy: str = ""
    mode: str = ""
    """Of the port, and by whom; empty where no sidecar of ours answers."""
    mode_by: str = ""
    ends: tuple[End, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "way": self.way,
            "verdict": self.verdict,
            "judgedBy": self.judge,
            "rule": self.rule,
            "reason": self.reason,
            "sentence": self.sentence,
            "remedy": self.remedy,
            "mode": {"mode": self.mode, "from": self.mode_by} if self.mode else None,
        }


def paths(world: World, client: Client, targets: Iterable[Target]) -> list[Path]:
    """Every way that a connection to one of these may take; those that differ only in their end are one."""
    found: dict[Path, list[End]] = {}
    for target in targets:
        for each in _to(world, client, target):
            found.setdefault(replace(each, ends=()), []).extend(each.ends)
    return [replace(path, ends=_distinct(ends)) for path, ends in found.items()]


def _to(world: World, client: Client, target: Target) -> Iterable[Path]:
    answer, outside = world.addresses.answer(target.address), unredirected(client, target)
    if isinstance(answer, ServiceAddress):
        chosen = _choice().route(answer, target.port, client.place)
        if isinstance(chosen, Refuse):
            return [_refused(chosen)]
        endpoints = within_reach(answer.ports[target.port], client.place, local=answer.local)
        objection = None if outside else _objection(world, client, answer, target)
        if objection is not None and not objection.allowed:
            # The sidecar prefers an endpoint that it may go to.
            endpoints = tuple(each for each in endpoints if _by(each, outside) == TUNNEL) or endpoints
        return [_go(world, client, each, outside, objection) for each in endpoints]
    way = route(answer, target.address, target.port, in_cluster=True, to_service=_never)
    if isinstance(way, Refuse):
        return [_refused(way)]
    endpoint = way.endpoint if isinstance(way, ByTunnel) else Endpoint(target.address, target.port)
    if not outside and client.pod is not None and target.address in client.pod.ips:
        outside = "what a pod sends to its own address passes no sidecar"
    return [_go(world, client, endpoint, outside, None if outside else _objection(world, client, answer, target))]


def _objection(world: World, client: Client, answer: AddressAnswer, target: Target) -> Verdict | None:
    """What the client's own policy has against plaintext to there."""
    if client.pod is None:
        return None
    return plaintext_permission(world.compiled(client.pod).policy, answer, target.address, target.port)


def _go(world: World, client: Client, endpoint: Endpoint, outside: str, objection: Verdict | None) -> Path:
    path = _arrive(world, client, _by(endpoint, outside), endpoint, outside)
    if path.way == TUNNEL or objection is None or (objection.allowed and path.verdict == REFUSED):
        return path
    told = AUDITED if objection.allowed else REFUSED
    return Path(PLAINTEXT, told, "client", objection.rule, objection.reason, objection.sentence, ends=path.ends)


def _distinct(ends: Iterable[End]) -> tuple[End, ...]:
    return tuple({(each.address, each.port): each for each in ends}.values())


def _arrive(world: World, client: Client, way: str, endpoint: Endpoint, outside: str) -> Path:
    pod = world.pod_at(endpoint.address, endpoint.uid)
    end = End(endpoint.address, endpoint.port, pod)
    if way == TUNNEL and pod is not None:
        parted = _parted(world, client, pod, end)
        if parted is not None:
            return parted
        policy = world.compiled(pod).policy
        verdict = tunnel_verdict(policy, client.identity, world.trust_domain, endpoint.port)
        return _judged(TUNNEL, verdict, policy, end, remedy(verdict, policy, client, world.trust_domain, endpoint.port))
    free = _own(client, pod) or unguarded(pod, endpoint.port)
    if free or pod is None:
        return Path(PLAINTEXT, ALLOWED, NOBODY, sentence=_because(outside, free), ends=(end,))
    policy = world.compiled(pod).policy
    path = _judged(PLAINTEXT, plaintext_verdict(policy, endpoint.port), policy, end, "")
    foreign = ""
    if endpoint.port in policy.foreign.ports:
        foreign = (
            f"by {policy.foreign.origin} a client may speak mutual TLS itself on port {endpoint.port}, and is then"
            " judged by its certificate"
        )
    return replace(path, sentence=path.sentence or _because(outside, ""), remedy=foreign)


def _parted(world: World, client: Client, pod: Pod, end: End) -> Path | None:
    """The handshake fails where either of the two is trusted no more, whatever the policies say."""
    for identity, judge in ((client.identity, "server"), (Client.of(pod, world.trust_domain).identity, "client")):
        found = world.revocation(identity)
        if found is not None:
            rule, remedy = f"TrustDomain {world.trust_domain}", f"handfast revoke --undo {identity} takes it back"
            return Path(TUNNEL, REFUSED, judge, rule, "handshake_revoked", str(found), remedy, ends=(end,))
    return None


def _own(client: Client, pod: Pod | None) -> str:
    if client.pod is None or pod is None or client.pod.uid != pod.uid:
        return ""
    return "a pod talks to itself past its sidecar"


def _judged(way: str, verdict: Verdict, policy: EffectivePolicy, end: End, remedy: str) -> Path:
    rule = policy.rule_for(end.port)
    told = AUDITED if verdict.audited else ALLOWED if verdict.allowed else REFUSED
    return Path(
        way,
        told,
        "server",
        verdict.rule,
        verdict.reason,
        verdict.sentence,
        remedy,
        rule.mode.value,
        rule.origin,
        (end,),
    )


def _refused(refusal: Refuse) -> Path:
    return Path(NOWHERE, REFUSED, "client", DEFAULT_ORIGIN, refusal.reason, refusal.sentence)


def _by(endpoint: Endpoint, outside: str) -> str:
    return TUNNEL if endpoint.transport is Transport.TUNNEL and not outside else PLAINTEXT


def _because(outside: str, free: str) -> str:
    return "; ".join(filter(None, (outside, free)))


def _choice() -> EndpointChoice:
    """Of a sidecar that has just started: nobody is left out, and nobody has connections."""
    return EndpointChoice(lambda _endpoint: 0, clock=time.monotonic, random=Random(0))  # noqa: S311 - chooses no secret


def _never(service: ServiceAddress, port: int) -> Route:
    return Plain(service.address, port)
