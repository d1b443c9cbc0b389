"""`edges`: who talks to whom, encrypted or not, how much, and what was refused: from the directory's evidence."""

import argparse
from collections.abc import Sequence
from typing import Any, Final

from handfast_operator.cli.errors import YES, CliError
from handfast_operator.cli.evidence import Collected, collect
from handfast_operator.cli.output import ago, show, table, warn
from handfast_operator.cli.words import counts
from handfast_operator.cluster.client import ApiClient
from handfast_operator.evidence.view import EdgeView, EvidenceView, Party, to_json

NAME: Final = "edges"
HELP: Final = "who talks to whom: encrypted or not, rates, refusals"
_COLUMNS: Final = (
    "SOURCE",
    "DESTINATION",
    "PORT",
    "ENCRYPTED",
    "CONNECTIONS",
    "OPEN",
    "RATE",
    "REFUSED",
    "AUDITED",
    "LAST SEEN",
    "RULE",
)
_WIDE: Final = ("BYTES", "SOURCE IDENTITY", "DESTINATION IDENTITY")
_NONE: Final = "-"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Whose edges."""
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="not only those of one namespace's pods")


async def run(args: argparse.Namespace, client: ApiClient) -> int:
    """Exit code 0, also where there are none; 3 where nobody could be asked. Raises CliError."""
    collected = await collect(client, args.operator_namespace)
    if collected.view is None:
        raise CliError("; ".join(collected.problems))
    namespace = "" if args.all_namespaces else args.namespace
    edges = chosen(collected.view, namespace)
    show(args, document(collected, edges), lambda: shown(collected, edges, namespace, wide=args.output == "wide"))
    if args.output in ("table", "wide"):
        for each in collected.problems:
            warn(f"incomplete: {each}")
    return YES


def chosen(view: EvidenceView, namespace: str) -> list[EdgeView]:
    """The edges that touch a namespace; "": all. By destination, so that the callers of one server stand together."""
    touching = (
        each for each in view.edges if not namespace or namespace in (each.source.namespace, each.destination.namespace)
    )
    return sorted(touching, key=lambda each: (each.destination, each.port, each.source, each.encrypted))


def document(collected: Collected, edges: Sequence[EdgeView]) -> dict[str, Any]:
    """The same as data."""
    at = collected.view.at if collected.view is not None else 0.0
    found = to_json(EvidenceView(at, tuple(edges)))
    return {
        "at": found["at"],
        "edges": found["edges"],
        "replicas": {"asked": collected.asked, "problems": list(collected.problems)},
    }


def shown(collected: Collected, edges: Sequence[EdgeView], namespace: str, *, wide: bool) -> str:
    """The table, or why there is none."""
    if not edges:
        return nothing(collected, namespace)
    at = collected.view.at if collected.view is not None else 0.0
    columns = (*_COLUMNS, *_WIDE) if wide else _COLUMNS
    return table(columns, [(*_row(each, at), *_further(each)) if wide else _row(each, at) for each in edges])


def nothing(collected: Collected, namespace: str) -> str:
    """Why there may be none."""
    where = f"in the namespace {namespace}" if namespace else "in the cluster"
    reporting = len(collected.view.pods) if collected.view is not None else 0
    if not reporting:
        return (
            f"No connections {where}: no sidecar has reported. Pods have one when their namespace has the label"
            " handfast.dev/inject=enabled and they were made after it; sidecars report every 10 s."
        )
    return (
        f"No connections {where}. {reporting} sidecars report, every 10 s, what they carried since the directory's"
        " replicas started; what pods without a sidecar say to each other nobody sees. Other namespaces: -n, or -A."
    )


def _row(edge: EdgeView, at: float) -> tuple[str, ...]:
    return (
        _party(edge.source),
        _party(edge.destination),
        str(edge.port),
        "yes" if edge.encrypted else "no",
        str(edge.connections),
        str(edge.open),
        f"{edge.per_second:.1f}/s",
        counts(edge.refused) or _NONE,
        counts(edge.audited) or _NONE,
        ago(at - edge.last_seen) if edge.last_seen else _NONE,
        edge.rule or _NONE,
    )


def _further(edge: EdgeView) -> tuple[str, ...]:
    return (str(edge.bytes), edge.source.identity or _NONE, edge.destination.identity or _NONE)


def _party(party: Party) -> str:
    return f"{party.namespace}/{party.name}" if party.namespace else party.name or "unknown"
