"""`label`, `annotate`, `patch` and `scale`: small changes of objects that are there."""

import json
from typing import Any, Final

import yaml

from handfast_lab.kubectl.calls import MERGE_PATCH
from handfast_lab.kubectl.refusals import Refusal, Stop, raise_if_any
from handfast_lab.kubectl.session import Session
from handfast_lab.kubectl.targets import Target, get, objects

Json = dict[str, Any]
_PATCHES: Final = {
    "merge": MERGE_PATCH,
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


def label(session: Session) -> None:
    """Raises Stop, Refusal, Several."""
    _mark(session, "label", "labels")


def annotate(session: Session) -> None:
    """Raises Stop, Refusal, Several."""
    _mark(session, "annotation", "annotations")


def patch(session: Session) -> None:
    """Raises Stop, Refusal."""
    line = session.line
    how, text = line.one("type", "strategic"), line.one("patch")
    if how not in _PATCHES:
        raise Stop(f'error: --type must be one of [json merge strategic], not "{how}"')
    if not text:
        raise Stop("error: must specify --patch or --patch-file containing the contents of the patch")
    try:
        body = json.dumps(json.loads(text) if text.lstrip().startswith(("{", "[")) else yaml.safe_load(text)).encode()
    except (ValueError, yaml.YAMLError):
        body = text.encode()  # the server says what is wrong with it
    for target in objects(session, line.words):
        before = get(session, target)
        query = session.dry() | {"fieldManager": "kubectl-patch"}
        path = target.path(line.one("subresource"))
        after = session.server.ask("PATCH", path, body, query=query, content=_PATCHES[how])
        session.done(target.kind, target.name, "patched" if _differ(before, after) else "patched (no change)")


def scale(session: Session) -> None:
    """Raises Stop, Refusal."""
    replicas = session.line.number("replicas")
    if replicas is None or replicas < 0:
        raise Stop("error: The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0")
    for target in objects(session, session.line.words):
        session.server.ask("PATCH", target.path("scale"), {"spec": {"replicas": replicas}}, content=MERGE_PATCH)
        session.done(target.kind, target.name, "scaled")


def _mark(session: Session, what: str, field: str) -> None:
    words = session.line.words
    end = next((at for at, each in enumerate(words) if at and ("=" in each or each.endswith("-"))), len(words))
    changes: dict[str, str | None] = {}
    for each in words[end:]:
        name, equals, value = each.partition("=")
        if not equals and not each.endswith("-"):
            raise Stop(f"error: all resources must be specified before {what} changes: {each}")
        changes[name if equals else each[:-1]] = value if equals else None
    if not changes:
        raise Stop(f"error: at least one {what} update is required")
    problems: list[Stop | Refusal] = []
    for target in objects(session, words[:end]):
        try:
            done = _marked(session, target, field, changes)
            session.done(target.kind, target.name, done if what == "label" else "annotated")
        except (Refusal, Stop) as problem:
            problems.append(problem)
    raise_if_any(problems)


def _marked(session: Session, target: Target, field: str, changes: dict[str, str | None]) -> str:
    had = get(session, target)["metadata"].get(field) or {}
    taken = [name for name, value in changes.items() if value is not None and had.get(name, value) != value]
    if taken and not session.line.flag("overwrite"):
        said = ", ".join(f"'{name}' already has a value ({had[name]})" for name in taken)
        if field == "annotations":
            raise Stop(f"error: --overwrite is false but found the following declared annotation(s): {said}")
        raise Stop(f"error: {said}, and --overwrite is false")
    if field == "labels":
        for name in (name for name, value in changes.items() if value is None and name not in had):
            session.say(f'label "{name}" not found.')
    effective = {name: value for name, value in changes.items() if had.get(name) != value}
    if effective:
        query = session.dry() | {"fieldManager": f"kubectl-{session.line.verb}"}
        session.server.ask("PATCH", target.path(), {"metadata": {field: effective}}, query=query, content=MERGE_PATCH)
    added, removed = (any((value is None) == gone for value in effective.values()) for gone in (False, True))
    return {(True, True): "modified", (True, False): "labeled", (False, True): "unlabeled"}.get(
        (added, removed), "not labeled"
    )


def _differ(before: Json, after: Json) -> bool:
    """Whether anything but the bookkeeping has changed."""
    old, new = ({**each, "metadata": {**each["metadata"]}} for each in (before, after))
    for each in (old, new):
        for name in ("managedFields", "resourceVersion", "generation"):
            each["metadata"].pop(name, None)
    return old != new
