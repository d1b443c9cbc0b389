"""What ends soon, and should have been replaced long before: the same thirds and sixths as in `handfast certs`."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from handfast_operator.authority.expiring import Life, Within, authority_within
from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import Asked, Facts
from handfast_operator.checks.finding import Level, Problem
from handfast_operator.checks.trust import authorities, served, status_of
from handfast_operator.cluster.kinds import TRUST_DOMAINS
from handfast_operator.resources.times import format_time, parse_time

_COMING: Final = frozenset({"Prepared", "Distributed"})
_LEVELS: Final = {Within.THIRD: Level.WARNING, Within.SIXTH: Level.ERROR, Within.EXPIRED: Level.ERROR}


def _roots(facts: Facts) -> Iterator[Problem]:
    listed = authorities(facts)
    coming = any(each["state"] in _COMING for each in listed)
    for each in listed:
        life = _life(each)
        if life is None:
            continue
        replaced = each["state"] == "Draining" or (each["state"] == "Active" and coming)
        within = authority_within(facts.at, life, replaced=replaced)
        if within is not None:
            source = "the external issuer that it was copied from" if each.get("source") == "secretRef" else "it"
            yield Problem(
                _LEVELS[within],
                f"Authority {each['name']}",
                f"{source} {_when(within, life)}: no certificate outlives it, and without another root every pod"
                " refuses every other",
                "renew the issuer in its Secret (docs/certificates.md#external-issuers)"
                if each.get("source") == "secretRef"
                else "handfast rotate; where it is paused: handfast rotate --resume",
            )


def _served(facts: Facts) -> Iterator[Problem]:
    for each in status_of(served(facts)).get("serving") or ():
        life = _life(each)
        within = life.within(facts.at) if life is not None else None
        if life is not None and within is not None:
            yield Problem(
                _LEVELS[within],
                f"Secret {facts.namespace}/handfast-{each['name']}-tls",
                f"the certificate that handfast-{each['name']} serves with {_when(within, life)}; it is renewed at half"
                " of its life",
                f"kubectl logs -n {facts.namespace} deployment/handfast-controller --tail=50",
            )


def _leaves(facts: Facts) -> Iterator[Problem]:
    found: dict[Within, list[str]] = {}
    alive = {pod.uid for pod in facts.pods if not pod.terminal and not pod.deleting}
    for uid, report in facts.evidence.pods.items() if facts.evidence is not None else ():
        if uid in alive and report.not_before:
            life = Life(parse_time(report.not_before), parse_time(report.not_after))
            within = life.within(facts.at)
            if within is not None:
                found.setdefault(within, []).append(report.pod)
    for within, pods in found.items():
        more = f" and {len(pods) - 1} more pods" if len(pods) > 1 else ""
        state = "has ended" if within is Within.EXPIRED else f"has less than a {within} of its life left"
        yield Problem(
            _LEVELS[within],
            f"Pod {pods[0]}",
            f"the certificate that its sidecar runs with{more and ', and those of'}{more.removeprefix(' and')} {state}:"
            " it was to be renewed long before",
            f"handfast certs -n {pods[0].partition('/')[0]} --expiring says whether the controller or the pod is late",
        )


def _life(said: Mapping[str, Any]) -> Life | None:
    begins, ends = said.get("notBefore"), said.get("notAfter")
    return Life(parse_time(begins), parse_time(ends)) if begins and ends else None


def _when(within: Within, life: Life) -> str:
    ends = format_time(life.ends)
    return f"ended at {ends}" if within is Within.EXPIRED else f"ends at {ends}, less than a {within} of its life away"


def _known(facts: Facts) -> bool:
    return bool(authorities(facts))


ROOT = Check("root-expiry", lambda _facts: "no root is near its end", _roots, (TRUST_DOMAINS,), _known)
SERVING = Check(
    "serving-certificates",
    lambda _facts: "webhook and directory have fresh certificates",
    _served,
    (TRUST_DOMAINS,),
    _known,
)
LEAVES = Check("leaf-expiry", lambda _facts: "no pod runs with an old certificate", _leaves, (Asked.EVIDENCE,))
