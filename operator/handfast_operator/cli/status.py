"""`status`: one screen that says how Handfast is here: what a platform engineer puts first into a ticket."""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from handfast_operator.checks.catalog import AFTER
from handfast_operator.checks.check import Report, judge
from handfast_operator.checks.effective import effective_policies
from handfast_operator.checks.facts import DEPLOYMENTS, Asked, Facts, Raw
from handfast_operator.checks.finding import Level
from handfast_operator.checks.leader import holder
from handfast_operator.checks.parts import is_ready
from handfast_operator.checks.sidecars import lagging, new_image, silent
from handfast_operator.checks.trust import authorities, served, status_of
from handfast_operator.cli.check import code, summary
from handfast_operator.cli.gathering import Gathering
from handfast_operator.cli.output import ago, show, table
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.parts import ROLES_OF_OPERATOR
from handfast_operator.controller.reports import NOT_INJECTED
from handfast_operator.evidence.view import EdgeView
from handfast_operator.resources.times import parse_time
from handfast_sidecar.wellknown import INJECT_ENABLED, LABEL_INJECT

NAME: Final = "status"
HELP: Final = "one screen: is it healthy, versions, roots, rotation, and pods by namespace"
VERSION: Final = 1
_COLUMNS: Final = ("NAMESPACE", "INJECTED", "MESHED", "NO SIDECAR", "OLD", "SILENT", "MODE", "PLAINTEXT FROM")
_COLUMN: Final = 14
_CLIENTS: Final = 3
"""Clients in plaintext that are named."""


@dataclass(frozen=True, slots=True)
class Space:
    """A namespace that has to do with Handfast."""

    name: str
    injected: bool
    meshed: int
    without: int
    """Pods that opted in and have no sidecar."""
    old: int
    """Pods with another sidecar than new ones get."""
    silent: int | None
    """None: nobody could be asked."""
    modes: Mapping[str, int]
    """Pods by the mode that holds for them."""
    plaintext: Sequence[EdgeView] | None


def arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing but what every verb has."""
    del parser


async def run(args: argparse.Namespace, client: ApiClient) -> int:
    """Exit code as that of `check`: 0, 1 with errors, 3 where something could not be looked at."""
    facts = await Gathering(client, args.operator_namespace).after(args.namespace, trial=False)
    report = judge([each for each in AFTER if Asked.TRIAL not in each.needs], facts)
    found = spaces(facts)
    show(args, document(facts, report, found), lambda: text(facts, report, found))
    return code(report)


def spaces(facts: Facts) -> list[Space]:
    """Namespaces that opted in, or have meshed pods, by name."""
    effective = effective_policies(facts)
    late = Counter((pod.namespace, reason) for pod, reason, _sentence in lagging(facts))
    unheard = Counter(pod.namespace for pod in silent(facts))
    meshed = [pod for pod in facts.pods if pod.meshed and not pod.terminal]
    injected = {each.name for each in facts.namespaces.values() if each.labels.get(LABEL_INJECT) == INJECT_ENABLED}
    names = injected | {pod.namespace for pod in meshed} | {name for name, reason in late if reason == NOT_INJECTED}
    plaintext = _plaintext(facts)
    return [
        Space(
            name,
            name in injected,
            sum(pod.namespace == name for pod in meshed),
            late[name, NOT_INJECTED],
            late[name, "OldSidecar"],
            unheard[name] if facts.evidence is not None else None,
            Counter(effective(pod).default.mode.value for pod in meshed if pod.namespace == name),
            plaintext.get(name, ()) if facts.evidence is not None else None,
        )
        for name in sorted(names)
    ]


def _plaintext(facts: Facts) -> dict[str, list[EdgeView]]:
    """Edges in plaintext that were carried to pods of a namespace."""
    found: dict[str, list[EdgeView]] = {}
    for edge in facts.evidence.edges if facts.evidence is not None else ():
        if not edge.encrypted and edge.connections and edge.destination.namespace:
            found.setdefault(edge.destination.namespace, []).append(edge)
    return found


def document(facts: Facts, report: Report, found: Sequence[Space]) -> dict[str, Any]:
    """The same as data."""
    trust_domain = served(facts)
    status = status_of(trust_domain)
    return {
        "version": VERSION,
        "healthy": not report.errors and not report.unseen,
        "errors": report.errors,
        "warnings": report.warnings,
        "unseen": len(report.unseen),
        "kubernetes": facts.version,
        "handfast": {"cli": facts.own_version, "sidecar": new_image(facts), "namespace": facts.namespace},
        "parts": {
            role: dict(zip(("ready", "wanted", "image"), _part(facts, role), strict=True)) for role in ROLES_OF_OPERATOR
        },
        "leader": holder(facts),
        "trustDomain": trust_domain["metadata"]["name"] if trust_domain is not None else None,
        "authorities": [dict(each) for each in authorities(facts)],
        "rotation": dict(status.get("rotation") or {}),
        "namespaces": [
            {
                "name": each.name,
                "injected": each.injected,
                "meshed": each.meshed,
                "withoutSidecar": each.without,
                "oldSidecar": each.old,
                "silent": each.silent,
                "modes": dict(each.modes),
                "plaintextClients": None if each.plaintext is None else sorted(_clients(each.plaintext)),
            }
            for each in found
        ],
    }


def text(facts: Facts, report: Report, found: Sequence[Space]) -> str:
    """The screen."""
    lines = [_row("HEALTH", _health(report))]
    lines += [_row("", f"{each.check}: {each.object}: {each.message}") for each in _errors(report)]
    lines += [_row("", f"{each.check} could not be looked at: {each.message}") for each in report.unseen]
    lines.append(_row("VERSIONS", f"Kubernetes {facts.version}, this command {facts.own_version}"))
    lines.append(_row("", f"new pods get {new_image(facts) or 'an unknown sidecar'}"))
    for name, role in zip(("OPERATOR", "", ""), ROLES_OF_OPERATOR, strict=True):
        ready, wanted, image = _part(facts, role)
        lines.append(_row(name, f"{role.ljust(11)}{ready}/{wanted} ready   {image}".rstrip()))
    lines.append(_row("LEADER", holder(facts) or "nobody"))
    lines += _trust(facts)
    return "\n".join([*lines, "", *_namespaces(found)])


def _health(report: Report) -> str:
    if report.errors:
        return f"not healthy: {summary(report)} See: handfast check"
    return f"healthy: {summary(report)}" + (" See: handfast check" if report.warnings or report.unseen else "")


def _errors(report: Report) -> Iterator[Any]:
    yield from (each for each in report.findings if each.level is Level.ERROR)


def _trust(facts: Facts) -> Iterator[str]:
    trust_domain = served(facts)
    if trust_domain is None:
        yield _row("TRUST DOMAIN", "none")
        return
    yield _row("TRUST DOMAIN", str(trust_domain["metadata"]["name"]))
    for name, each in zip(("ROOT", *[""] * len(authorities(facts))), authorities(facts), strict=False):
        left = (parse_time(each["notAfter"]) - facts.at).total_seconds()
        source = "external issuer" if each.get("source") == "secretRef" else "self-signed"
        ends = f"until {each['notAfter']} ({ago(left)} left)" if left > 0 else f"ended at {each['notAfter']}"
        yield _row(name, f"{each['name']}: {each['state']}, {ends}, {source}")
    rotation = status_of(trust_domain).get("rotation") or {}
    waiting = f", waits for {rotation['waiting']} pods" if rotation.get("waiting") else ""
    yield _row("ROTATION", f"{rotation.get('state', 'unknown')}{waiting}")


def _namespaces(found: Sequence[Space]) -> Iterator[str]:
    if not found:
        yield f"No namespace has the label {LABEL_INJECT}={INJECT_ENABLED}, and no pod a sidecar."
        return
    yield table(_COLUMNS, [_space(each) for each in found])


def _space(space: Space) -> tuple[str, ...]:
    modes = ", ".join(f"{mode} {count}" for mode, count in sorted(space.modes.items()))
    clients = sorted(_clients(space.plaintext or ()))
    more = f" and {len(clients) - _CLIENTS} more" if len(clients) > _CLIENTS else ""
    return (
        space.name,
        "yes" if space.injected else "no",
        str(space.meshed),
        str(space.without),
        str(space.old),
        "?" if space.silent is None else str(space.silent),
        modes or "-",
        "?" if space.plaintext is None else f"{', '.join(clients[:_CLIENTS])}{more}" or "nobody seen",
    )


def _clients(edges: Sequence[EdgeView]) -> set[str]:
    return {f"{each.source.namespace}/{each.source.name}".removeprefix("/") or "unknown" for each in edges}


def _part(facts: Facts, role: str) -> tuple[int, int, str]:
    """Ready pods, wanted ones, and the image."""
    deployment: Raw = facts.named(DEPLOYMENTS, f"handfast-{role}") or {}
    spec = deployment.get("spec") or {}
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or [{}]
    wanted = int(spec.get("replicas", 1)) if deployment else 0
    return sum(map(is_ready, facts.own_pods(role))), wanted, str(containers[0].get("image", "missing"))


def _row(name: str, value: str) -> str:
    return f"{name.ljust(_COLUMN)}{value}".rstrip()
