"""An explanation as people read it: the answer first, then what it rests on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from handfast_operator.cli.output import ago
from handfast_operator.evidence.view import EdgeView
from handfast_operator.explain.explanation import MIXED, UNKNOWN, Explanation
from handfast_operator.explain.fields import Link, Said
from handfast_operator.explain.parties import pod_text
from handfast_operator.explain.paths import ALLOWED, AUDITED, NOBODY, NOWHERE, PLAINTEXT, REFUSED, TUNNEL, End, Path
from handfast_sidecar.policy.effective import DEFAULT_ORIGIN

_COLUMN: Final = 11
_HEAD: Final = {ALLOWED: "Allowed", AUDITED: "Allowed, and reported (Audit)", REFUSED: "Refused"}
_WAYS: Final = {TUNNEL: "mutual TLS, between the two sidecars", PLAINTEXT: "plaintext", NOWHERE: "not dialled at all"}
_ENDS: Final = 5
"""Endpoints that are named one by one."""
_EDGES: Final = 3


def text(explanation: Explanation) -> str:
    """Lines, without a line break at the end."""
    question, alone = explanation.question, len(explanation.paths) == 1
    client = question.client
    lines = [_headline(explanation)]
    lines += _row("FROM", pod_text(client.pod) if client.pod is not None else f"any meshed pod of {client}")
    if client.pod is None or client.pod.meshed:
        lines += _row("", str(client.identity))
    lines += _row("TO", f"{question.name}, port {question.port}")
    for path, chain in zip(explanation.paths, explanation.chains, strict=True):
        lines += [] if alone else ["", _verdict(path)]
        lines += _path(path, chain)
    lines += _seen(explanation)
    for name, said in (("WARNING", explanation.warnings), ("UNREAD", explanation.unread), ("NOTE", explanation.notes)):
        for each in said:
            lines += _row(name, each)
    return "\n".join(lines)


def _headline(explanation: Explanation) -> str:
    if explanation.verdict == UNKNOWN:
        if not explanation.paths:
            return "Unknown: there is nothing to dial."
        known = _verdict(explanation.paths[0])
        return f"Unknown: something that decides could not be read. As far as can be seen: {known}"
    if explanation.verdict == MIXED or len(explanation.paths) > 1:
        counts = ", ".join(
            f"{sum(len(path.ends) or 1 for path in explanation.paths if path.verdict == verdict)} {word}"
            for verdict, word in ((ALLOWED, "allow it"), (AUDITED, "allow and report it"), (REFUSED, "refuse it"))
            if any(path.verdict == verdict for path in explanation.paths)
        )
        return f"It depends on the endpoint: {counts}."
    return _verdict(explanation.paths[0])


def _verdict(path: Path) -> str:
    head = _HEAD[path.verdict]
    if path.judge == NOBODY:
        return f"{head}, in plaintext and judged by nobody: {path.sentence}."
    if path.reason != "ok":
        return f"{head}, {path.reason}: {path.sentence}."
    return f"{head} by {path.rule}." if path.rule not in ("", DEFAULT_ORIGIN) else f"{head}: no policy says otherwise."


def _path(path: Path, chain: Sequence[Link]) -> Iterable[str]:
    for number, each in enumerate(path.ends[:_ENDS]):
        yield from _row("" if number else "AT", _end(each))
    if len(path.ends) > _ENDS:
        yield from _row("", f"and {len(path.ends) - _ENDS} more")
    yield from _row("BY WAY OF", _WAYS[path.way])
    if path.judge != NOBODY and path.reason == "ok" and path.sentence:
        yield from _row("", f"because {path.sentence}")
    if path.mode:
        yield from _row("MODE", f"{path.mode}, by {path.mode_by}")
    for name, link in zip(["POLICIES", *[""] * len(chain)], chain, strict=False):
        yield from _row(name, f"{link.origin} ({link.level}): {'; '.join(map(said_text, link.said)) or 'says nothing'}")
    if path.remedy:
        yield from _row("TO DO", path.remedy)


def said_text(said: Said) -> str:
    """What a policy says in one field, in a few words."""
    name = f"{said.field}: {said.value}" if isinstance(said.value, str | int) else said.field
    return f"{name} overruled by {said.by}" if said.by else f"{name} {said.effect}"


def _end(end: End) -> str:
    where = f"[{end.address}]:{end.port}" if ":" in end.address else f"{end.address}:{end.port}"
    return f"{where}, {pod_text(end.pod)}" if end.pod is not None else where


def _seen(explanation: Explanation) -> Iterable[str]:
    if explanation.seen is None:
        return
    if not explanation.seen:
        yield from _row("LAST SEEN", "never, as far as the directory's replicas remember")
    for name, edge in zip(["LAST SEEN", *[""] * _EDGES], explanation.seen[:_EDGES], strict=False):
        yield from _row(name, edge_text(edge, explanation.at))


def edge_text(edge: EdgeView, now: float) -> str:
    """What was seen of an edge, in a line."""
    parts = [f"{ago(now - edge.last_seen)} ago, {'encrypted' if edge.encrypted else 'plaintext'}"]
    parts.append(f"{edge.connections} connections, {edge.open} open")
    if edge.refused:
        parts.append(f"refused: {counts(edge.refused)}")
    if edge.audited:
        parts.append(f"audited: {counts(edge.audited)}")
    return "; ".join(parts) + (f"; by {edge.rule}" if edge.rule not in ("", DEFAULT_ORIGIN) else "")


def counts(reasons: Mapping[str, int]) -> str:
    """`denied 3, limit_rate 1`, the most frequent first."""
    return ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items(), key=lambda each: -each[1]))


def _row(name: str, value: str) -> list[str]:
    return [f"{name.ljust(_COLUMN)}{value}".rstrip()]
