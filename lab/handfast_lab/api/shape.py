"""What a CustomResourceDefinition does with objects: unknown fields, defaults, validation; and its own status."""

import json
from typing import Any, Final

from handfast_lab.api.calls import STRICT, WARN, Call
from handfast_lab.api.defaults import default
from handfast_lab.api.problems import ApiProblem, bad_request, invalid
from handfast_lab.api.resources import CRDS, Resource
from handfast_lab.api.schema import CustomSchema
from handfast_lab.api.structural import UnsupportedSchema

Json = dict[str, Any]
_ACCEPTED: Final = (("NamesAccepted", "NoConflicts", "no conflicts found"),
                    ("Established", "InitialNamesAccepted", "the initial names have been accepted"))  # fmt: skip


class Shapes:
    """The schemas of custom resources, compiled when first needed; built-in kinds have none: unknown fields stay."""

    def __init__(self) -> None:
        self._compiled: dict[str, tuple[Json, CustomSchema]] = {}

    def fit(self, resource: Resource, found: Json, call: Call) -> Json:
        """Pruned and defaulted. Raises ApiProblem for unknown fields where the call is strict, or for a wrong shape."""
        try:
            if resource.definition is None:
                return default(found)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise bad_request(_unhandled(resource, f"{type(error).__name__}: {error}")) from error
        schema = self._schema(resource)
        unknown = [f'unknown field "{each}"' for each in schema.unknown_fields(found)]
        if unknown and call.applied is not None:
            raise self._undeclared(resource, found, schema.unknown_fields(call.applied) or unknown)
        if unknown and call.strictness == STRICT:
            raise _strict(resource, found, f"strict decoding error: {', '.join(unknown)}", patched=call.patched)
        if call.strictness == WARN:
            call.warnings.extend(unknown)
        return schema.default(schema.prune(found))

    def problems(self, resource: Resource, new: Json, old: Json | None) -> list[str]:
        """What the schema and its rules forbid."""
        return [] if resource.definition is None else self._schema(resource).problems(new, old)

    def _schema(self, resource: Resource) -> CustomSchema:
        definition = resource.definition or {}
        known = self._compiled.get(resource.name)
        if known is not None and known[0] is definition:
            return known[1]
        schema = CustomSchema.of(definition, resource.version)
        self._compiled[resource.name] = (definition, schema)
        return schema

    def _undeclared(self, resource: Resource, found: Json, unknown: list[str]) -> ApiProblem:
        meta = found["metadata"]
        words = f"{meta.get('namespace', '')}/{meta['name']}; {resource.api_version}, Kind={resource.kind}"
        said = "\n".join(f".{each}: field not declared in schema" for each in unknown)
        said = said if len(unknown) == 1 else f"errors:\n  {said}"
        return ApiProblem(500, "", f"failed to create typed patch object ({words}): {said}")


def established(definition: Json, now: str) -> Json:
    """A CustomResourceDefinition that is served at once. Raises ApiProblem where the lab cannot check its schema."""
    spec, name = definition["spec"], definition["metadata"]["name"]
    if name != f"{spec['names']['plural']}.{spec['group']}":
        said = f'metadata.name: Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
        raise invalid("CustomResourceDefinition.apiextensions.k8s.io", name, [said])
    stored = next((each["name"] for each in spec["versions"] if each.get("storage")), "")
    try:
        CustomSchema.of(definition, stored)
    except UnsupportedSchema as error:
        raise invalid("CustomResourceDefinition.apiextensions.k8s.io", name, [str(error)]) from error
    before = {each["type"]: each for each in (definition.get("status") or {}).get("conditions") or ()}
    conditions = [
        before.get(kind)
        or {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}
        for kind, reason, message in _ACCEPTED
    ]
    status = {"conditions": conditions, "acceptedNames": spec["names"], "storedVersions": [stored]}
    return definition | {"status": status}


def is_definition(resource: Resource) -> bool:
    return resource.name == CRDS


def _strict(resource: Resource, found: Json, said: str, *, patched: bool) -> ApiProblem:
    if not patched:
        return bad_request(_unhandled(resource, said))
    value = json.dumps(json.dumps(found, separators=(",", ":"), ensure_ascii=False), ensure_ascii=False)
    return invalid("", "", [f"patch: Invalid value: {value}: {said}"])


def _unhandled(resource: Resource, said: str) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {said}'
