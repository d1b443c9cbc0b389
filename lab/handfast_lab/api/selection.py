"""Label and field selectors: as text of a query, and as LabelSelector objects. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from handfast_lab.api.problems import bad_request
from handfast_lab.api.resources import Resource

Json = dict[str, Any]
Labels = Mapping[str, str]
_TERM: Final = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<no>[^\s,()=!<>]+)"
    r"|(?P<set>[^\s,()=!<>]+)\s+(?P<in>in|notin)\s*\((?P<values>[^)]*)\)"
    r"|(?P<key>[^\s,()=!<>]+)\s*(?:(?P<op>==|=|!=)\s*(?P<value>[^\s,()=!<>]*))?)\s*(?:,|$)"
)
_EVERYWHERE: Final = {"metadata.name", "metadata.namespace"}
_OF_EVENTS: Final = {f"involvedObject.{each}" for each in
                     ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")}  # fmt: skip
_FIELDS: Final[dict[str, set[str]]] = {
    "pods": {"spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"},
    "events": _OF_EVENTS | {each.replace("involvedObject", "regarding") for each in _OF_EVENTS} | {"reason", "type",
        "reportingComponent", "source"},
    "secrets": {"type"},
    "namespaces": {"status.phase"},
    "services": {"spec.clusterIP", "spec.type"},
    "nodes": {"spec.unschedulable"},
    "jobs.batch": {"status.successful"},
}  # fmt: skip


def label_selector(text: str) -> Callable[[Labels], bool]:
    """Whether labels match; raises ApiProblem where the text is no selector."""
    tests: list[Callable[[Labels], bool]] = []
    position = 0
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None or found.end() == position:
            raise bad_request(f"unable to parse requirement: found {text[position:]!r}")
        tests.append(_test(found))
        position = found.end()
    return lambda labels: all(test(labels) for test in tests)


def _test(found: re.Match[str]) -> Callable[[Labels], bool]:
    if found["absent"]:
        return lambda labels: found["no"] not in labels
    if found["set"]:
        values = {each.strip() for each in found["values"].split(",")}
        wanted = found["in"] == "in"
        return lambda labels: (labels.get(found["set"]) in values) == wanted
    if found["op"] is None:
        return lambda labels: found["key"] in labels
    wanted = found["op"] != "!="
    return lambda labels: (labels.get(found["key"]) == found["value"]) == wanted


def field_selector(text: str, resource: Resource) -> Callable[[Json], bool]:
    """Whether an object (as stored) matches; raises ApiProblem for a field that cannot be selected by."""
    tests: list[tuple[str, str, bool]] = []
    for term in filter(None, text.split(",")):
        found = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", term.strip())
        if found is None:
            raise bad_request(f"invalid field selector: {term!r}: can't understand {term!r}")
        path, operator, value = found.groups()
        if path not in _EVERYWHERE | _FIELDS.get(resource.name, set()):
            raise bad_request(f"field label not supported: {path}")
        tests.append((path, value, operator != "!="))
    return lambda each: all((_field(each, path) == value) == wanted for path, value, wanted in tests)


def matches(selector: Json | None, labels: Labels) -> bool:
    """Whether a LabelSelector object selects; one that is absent or empty selects everything."""
    selector = selector or {}
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or ()
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _expression(each, labels) for each in expressions
    )


def _expression(each: Json, labels: Labels) -> bool:
    match each["operator"]:
        case "In":
            return labels.get(each["key"]) in each["values"]
        case "NotIn":
            return labels.get(each["key"]) not in each["values"]
        case "Exists":
            return each["key"] in labels
        case _:
            return each["key"] not in labels


def _field(found: Json, path: str) -> str:
    if path == "source":
        return str((found.get("source") or {}).get("component") or found.get("reportingComponent", ""))
    if path == "spec.unschedulable":
        return str(bool((found.get("spec") or {}).get("unschedulable"))).lower()
    value: Any = found
    for step in path.replace("regarding", "involvedObject").split("."):
        value = (value or {}).get(step)
    return "" if value is None else str(value)
