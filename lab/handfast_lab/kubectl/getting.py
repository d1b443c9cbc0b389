"""`get`: tables that the server draws, or the objects themselves; once, or as they change."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from handfast_lab.kubectl.calls import JSON, TABLE, absent
from handfast_lab.kubectl.printing import cells, lines, shown
from handfast_lab.kubectl.refusals import Refusal, Stop, raise_if_any
from handfast_lab.kubectl.session import Session
from handfast_lab.kubectl.targets import Target, selection, targets

Json = dict[str, Any]
_FORMS = ("", "wide", "json", "yaml", "name")


def get(session: Session) -> None:
    """Raises Stop, Refusal, Several."""
    line = session.line
    if raw := line.one("raw"):
        session.stdout.write(session.server.text(raw))
        return
    if (form := line.one("output")) not in _FORMS:
        raise Stop(f'error: the output format "{form}" is not known to the little kubectl of the lab: install kubectl')
    chosen = targets(session, line.words)
    if line.flag("watch"):
        _watch(session, chosen)
    elif form in ("", "wide"):
        _tables(session, chosen)
    else:
        _whole(session, chosen, form)


def _whole(session: Session, chosen: list[Target], form: str) -> None:
    found: list[Json] = []
    problems: list[Stop | Refusal] = []
    kinds = []
    for target, answer in _answers(session, chosen, JSON, problems):
        items = [answer] if target.name else answer["items"]
        typed = {"apiVersion": target.kind.api_version, "kind": target.kind.name}
        found += [typed | each for each in items]
        kinds += [target.kind] * len(items)
    if form == "name":
        for kind, each in zip(kinds, found, strict=True):
            session.say(kind.told(each["metadata"]["name"]))
    elif len(chosen) == 1 and chosen[0].name:
        if found:
            session.say(shown(found[0], form))
    elif found or not session.line.flag("ignore-not-found"):
        empty = {"resourceVersion": ""}
        session.say(shown({"apiVersion": "v1", "items": found, "kind": "List", "metadata": empty}, form))
    raise_if_any(problems)


def _tables(session: Session, chosen: list[Target]) -> None:
    problems: list[Stop | Refusal] = []
    tables: dict[str, tuple[Target, Json]] = {}
    several = len({each.kind for each in chosen}) > 1
    for target, answer in _answers(session, chosen, TABLE, problems):
        if not answer.get("rows"):
            continue
        if target.kind.resource in tables:
            tables[target.kind.resource][1]["rows"].extend(answer["rows"])
        else:
            tables[target.kind.resource] = (target, answer)
    for number, (target, table) in enumerate(tables.values()):
        if number and not session.line.flag("no-headers"):
            session.say("")
        _Printer(session, target, target.kind.told("") if several else "").print(table)
    if not tables and not problems and not session.line.flag("ignore-not-found"):
        everywhere = any(not each.namespace for each in chosen)
        where = "" if everywhere else f" in {session.namespace} namespace."
        session.stderr.write(f"No resources found{where}\n")
    raise_if_any(problems)


def _answers(
    session: Session, chosen: list[Target], accept: str, problems: list[Stop | Refusal]
) -> Iterator[tuple[Target, Json]]:
    for target in chosen:
        try:
            query = {} if target.name else selection(session)
            yield target, session.server.ask("GET", target.path(), query=query, accept=accept)
        except Refusal as problem:
            if not (absent(problem) and session.line.flag("ignore-not-found")):
                problems.append(problem)


def _watch(session: Session, chosen: list[Target]) -> None:
    """What is there, then each change, until the server ends it or the user does."""
    if len({each.kind for each in chosen}) > 1 or len(chosen) > 1:
        raise Stop("error: you may only specify a single resource type")
    [target] = chosen
    collection = Target(target.kind, target.namespace, "").path()
    query = {"fieldSelector": f"metadata.name={target.name}"} if target.name else selection(session)
    form = session.line.one("output")
    accept = TABLE if form in ("", "wide") else JSON
    if target.name:
        session.server.ask("GET", target.path())  # who waits for what is not there waits long
    first = session.server.ask("GET", collection, query=query, accept=accept)
    show: Callable[[Json], None]
    if accept == TABLE:
        show = _Printer(session, target, "").print
        show(first)
    else:

        def show(found: Json) -> None:
            session.say(target.kind.told(found["metadata"]["name"]) if form == "name" else shown(found, form))

        for each in first["items"]:
            show({"apiVersion": target.kind.api_version, "kind": target.kind.name} | each)
    since = {"watch": "true", "resourceVersion": first["metadata"]["resourceVersion"]}
    for event in map(json.loads, session.server.lines(collection, query | since, accept=accept)):
        if event["type"] == "ERROR":
            raise Refusal(event["object"])
        if event["type"] != "BOOKMARK":
            show(event["object"])


class _Printer:
    """Writes tables of one kind below each other."""

    def __init__(self, session: Session, target: Target, prefix: str) -> None:
        line = session.line
        self._session = session
        self._wide = line.one("output") == "wide"
        self._namespaces = target.kind.namespaced and line.flag("all-namespaces")
        self._headers = not line.flag("no-headers")
        self._prefix = prefix
        self._widths: list[int] = []
        self._columns: Any = None

    def print(self, table: Json) -> None:
        """Its rows; the heads of the columns come once. Events of a watch name their columns only once, too."""
        if not table.get("rows"):
            return
        self._columns = table.get("columnDefinitions") or self._columns
        table = table | {"columnDefinitions": self._columns}
        rows = cells(table, wide=self._wide, namespaces=self._namespaces, headers=self._headers, prefix=self._prefix)
        self._headers = False
        for each in lines(rows, self._widths):
            self._session.say(each)
