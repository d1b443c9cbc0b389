"""`wait`: until a condition, a field, or that it exists or does not. Conditions are pure functions of the object."""

import re
import time
from collections.abc import Callable
from typing import Any, Final

from handfast_lab.kubectl.calls import absent
from handfast_lab.kubectl.deleting import until_gone
from handfast_lab.kubectl.following import follow
from handfast_lab.kubectl.manifests import manifests
from handfast_lab.kubectl.refusals import Refusal, Stop, raise_if_any
from handfast_lab.kubectl.session import Session, seconds
from handfast_lab.kubectl.targets import Target, get, objects

Json = dict[str, Any]
Condition = Callable[[Json], bool]
_STEP: Final = re.compile(r"\.((?:\\.|[^.\[\]\\])+)|\[(-?\d+)\]|\['((?:[^'])+)'\]")
_WEEK_S: Final = 7 * 24 * 3600.0


def wait(session: Session) -> None:
    """Raises Stop, Refusal, Several."""
    line = session.line
    wanted = line.all("for")
    if not wanted:
        raise Stop("error: unrecognized condition: []")
    within_s = seconds(line.one("timeout", "30s"))
    deadline = time.monotonic() + (within_s if within_s >= 0 else _WEEK_S)
    conditions = [condition(each) for each in wanted if each.lower() not in ("create", "delete")]
    problems: list[Stop | Refusal] = []
    chosen = (
        [each.target for each in manifests(session, problems)] if line.all("filename") else objects(session, line.words)
    )
    if not chosen and "delete" not in wanted:
        raise Stop("error: no matching resources found")
    for target in chosen:
        try:
            if "create" in wanted:
                _until_there(session, target, deadline)
            if "delete" in wanted and not _until_gone(session, target, deadline):
                continue
            for each in conditions:
                _until(session, target, each, deadline)
            session.say(f"{target} condition met")
        except (Refusal, Stop) as problem:
            problems.append(problem)
    raise_if_any(problems)


def condition(text: str) -> Condition:
    """What `--for` says. Raises Stop."""
    how, _, rest = text.partition("=")
    if how == "condition" and rest:
        name, _, value = rest.partition("=")
        return lambda found: has_condition(found, name, value or "true")
    if how == "jsonpath" and rest:
        path, equals, value = rest.partition("=")
        if equals and not value.strip("'\""):
            raise Stop("error: jsonpath wait has to have a value after equal sign, like"
                       " --for=jsonpath='{.status.readyReplicas}'=3")  # fmt: skip
        steps = _steps(path)
        return lambda found: _matches(_field(found, steps), value.strip("'\"").strip() if equals else None)
    raise Stop(f'error: unrecognized condition: "{text}"')


def has_condition(found: Json, name: str, value: str) -> bool:
    """Whether the status says so of the generation that there is."""
    status = found.get("status") or {}
    for each in status.get("conditions") or ():
        if str(each.get("type", "")).lower() == name.lower():
            seen = each.get("observedGeneration", status.get("observedGeneration"))
            stale = seen is not None and seen < (found["metadata"].get("generation") or 0)
            return not stale and str(each.get("status", "")).lower() == value.lower()
    return False


def _until(session: Session, target: Target, met: Condition, deadline: float) -> None:
    get(session, target)  # what is not there is refused in the server's words
    try:
        for found in follow(session, target, deadline):
            if found is None:
                get(session, target)
            elif met(found):
                return
    except TimeoutError:
        raise _late(target) from None


def _until_there(session: Session, target: Target, deadline: float) -> None:
    try:
        for found in follow(session, target, deadline):
            if found is not None:
                return
    except TimeoutError:
        raise Stop("error: timed out waiting for the condition") from None


def _until_gone(session: Session, target: Target, deadline: float) -> bool:
    """Whether it was there: of what was not, kubectl says nothing."""
    try:
        uid = get(session, target)["metadata"]["uid"]
    except Refusal as problem:
        if absent(problem):
            return False
        raise
    until_gone(session, target, uid, deadline)
    return True


def _late(target: Target) -> Stop:
    return Stop(f"error: timed out waiting for the condition on {target.kind.plural}/{target.name}")


def _steps(path: str) -> list[str | int]:
    """`{.status.items[0].name}`. Raises Stop for more of JSONPath than that."""
    inner = path.strip("'\"").removeprefix("{").removesuffix("}")
    inner = inner if inner.startswith((".", "[")) else f".{inner}"
    found = list(_STEP.finditer(inner))
    if "".join(each[0] for each in found) != inner:
        raise Stop(f"error: the JSONPath {path} is not known to the little kubectl of the lab: install kubectl for it")
    return [int(each[2]) if each[2] else each[3] or re.sub(r"\\(.)", r"\1", each[1]) for each in found]


def _field(found: Any, steps: list[str | int]) -> Any:
    for step in steps:
        try:
            found = found[step]
        except (IndexError, KeyError, TypeError):
            return None
    return found


def _matches(found: Any, value: str | None) -> bool:
    if found is None or value is None:
        return found is not None
    if isinstance(found, dict | list):
        raise Stop("error: jsonpath leads to a nested object or list which is not supported")
    return (str(found).lower() if isinstance(found, bool) else str(found).strip()) == value
