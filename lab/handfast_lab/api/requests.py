"""What an HTTP request asks for: the object or collection of its path, its body, and the options of its query. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from handfast_lab.api.calls import WARN, Call
from handfast_lab.api.problems import ApiProblem, bad_request
from handfast_lab.api.protobuf import CONTENT_TYPE, decode
from handfast_lab.api.resources import Resource, Resources

Json = dict[str, Any]
_JSON: Final = ("application/json", "")
_YAML: Final = ("application/yaml", "application/x-yaml", "text/yaml")
_TIME: Final = "tag:yaml.org,2002:timestamp"


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names."""

    resource: Resource
    namespace: str
    name: str
    """Empty: the collection."""
    subresource: str


def target(resources: Resources, path: str) -> Target:
    """Raises ApiProblem where there is no such kind."""
    words = [each for each in path.split("/") if each]
    group, version, *rest = ("", *words[1:]) if words[:1] == ["api"] else words[1:]
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        _, namespace, *rest = rest
    plural, name, subresource = [*rest, "", "", ""][:3]
    found = resources.at(group, version, plural)
    if not found.accepts(subresource) or len(rest) > 3 or (namespace and not found.namespaced):
        raise ApiProblem(404, "NotFound", "the server could not find the requested resource")
    return Target(found, namespace, name, subresource)


def body(raw: bytes, content_type: str) -> Any:
    """JSON, YAML, or what kubectl has in Protocol Buffers. Raises ApiProblem."""
    if content_type == CONTENT_TYPE:
        return decode(raw)
    if content_type not in (*_JSON, *_YAML) and not content_type.endswith(("+json", "+yaml")):
        accepted = ", ".join((*_JSON[:1], *_YAML[:1]))
        message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise ApiProblem(415, "UnsupportedMediaType", message)
    if not raw.strip():
        return {}
    try:
        return json.loads(raw)
    except ValueError as error:
        if content_type in _JSON or content_type.endswith("+json"):
            raise bad_request(f"invalid character in the request's JSON: {error}") from error
    try:
        return yaml.load(raw, _PlainLoader)  # noqa: S506 - a SafeLoader with fewer types
    except yaml.YAMLError as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from error


def call(query: Mapping[str, str], agent: str, user: str, subresource: str = "", *, patched: bool = False) -> Call:
    """A request's options; its client is who owns the fields that it writes, if it gives no name for that."""
    dry = query.get("dryRun", "")
    if dry not in ("", "All"):
        said = f'dryRun: Unsupported value: "{dry}": supported values: "All"'
        raise ApiProblem(422, "Invalid", f" is invalid: {said}")
    return Call(
        user=user,
        manager=query.get("fieldManager") or agent.partition("/")[0] or "unknown",
        dry_run=dry == "All",
        strictness=query.get("fieldValidation") or WARN,
        subresource=subresource,
        patched=patched,
        force=query.get("force") == "true",
    )


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean of the query, as Go reads them."""
    return query.get(name, "").lower() in ("1", "t", "true")


class _PlainLoader(yaml.SafeLoader):
    """Reads times as text: JSON has none."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIME]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
