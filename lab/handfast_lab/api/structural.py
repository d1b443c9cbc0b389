"""A CRD's schema as a tree, because four algorithms walk it: pruning, defaulting, validation, rules.

One rule: a keyword that those do not know is refused here, for a constraint that is skipped silently makes the lab take
what the real server refuses (k8s.io/apiextensions-apiserver, `pkg/apiserver/schema`, is the model of the tree).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, cast

Json = dict[str, Any]
Reason = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"]

TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean"})
FORMATS = frozenset({("string", "date-time"), ("integer", "int32"), ("integer", "int64")})
LIMITS = frozenset(
    {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
)
KNOWN = LIMITS | {
    *("type", "format", "nullable", "default", "enum", "pattern", "exclusiveMinimum", "exclusiveMaximum"),
    *("properties", "additionalProperties", "required", "items"),
    *("x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"),
    # These change no answer of ours: the first four are words, and both types of map are matched field by field.
    *("description", "title", "example", "externalDocs", "x-kubernetes-map-type"),
}
KNOWN_OF_RULES = {"rule", "message", "messageExpression", "reason", "fieldPath", "optionalOldSelf"}
REASONS = frozenset({"FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"})


class UnsupportedSchema(Exception):
    """The CRD asks for something that the lab cannot check: leave it out of the CRD, or teach the lab."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of x-kubernetes-validations, not compiled yet."""

    text: str
    message: str
    message_expression: str
    reason: Reason
    field_path: str
    optional_old_self: bool


@dataclass(frozen=True, slots=True)
class Structural:
    """What one place of an object may hold; without arguments: anything, of which no field is known."""

    types: tuple[str, ...] = ()
    format: str = ""
    nullable: bool = True
    preserves: bool = False
    default: object = None
    enum: tuple[object, ...] = ()
    limits: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    exclusive: frozenset[str] = frozenset()
    pattern: str = ""
    properties: Mapping[str, "Structural"] = field(default_factory=lambda: MappingProxyType({}))
    values: "Structural | None" = None
    required: tuple[str, ...] = ()
    items: "Structural | None" = None
    list_type: str = "atomic"
    list_keys: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()

    def child(self, name: str) -> "Structural | None":
        """The schema of a field, or None for one that is not known."""
        return self.properties.get(name, self.values)

    @property
    def type(self) -> str:
        """The type as rules are told it; "" where there is not exactly one."""
        return self.types[0] if len(self.types) == 1 else ""


ANYTHING = Structural()


def parse(raw: Json, path: str) -> Structural:
    """`path`: where in the CRD, for the reader of UnsupportedSchema."""
    if unknown := sorted(raw.keys() - KNOWN):
        raise UnsupportedSchema(f"{path}: the lab does not support {', '.join(unknown)}")
    types = _types(raw, path)
    form = raw.get("format", "")
    if form and (len(types) != 1 or (types[0], form) not in FORMATS):
        raise UnsupportedSchema(f"{path}: the lab does not support format {form!r} of {raw.get('type')}")
    limits = {name: raw[name] for name in sorted(LIMITS & raw.keys())}
    if "integer" in types and any(limit != int(limit) for limit in limits.values()):
        raise UnsupportedSchema(f"{path}: the lab does not support limits of integers that are none")
    values = raw.get("additionalProperties")
    if values is False or (values is not None and "properties" in raw):
        raise UnsupportedSchema(f"{path}: structural schemas have no additionalProperties beside properties, nor false")
    list_type = raw.get("x-kubernetes-list-type", "atomic")
    if list_type not in {"atomic", "set", "map"}:
        raise UnsupportedSchema(f"{path}: the lab does not support x-kubernetes-list-type {list_type!r}")
    return Structural(
        types=types,
        format=form,
        nullable=raw.get("nullable", False),
        preserves=raw.get("x-kubernetes-preserve-unknown-fields", False),
        default=raw.get("default"),
        enum=tuple(raw.get("enum", ())),
        limits=limits,
        exclusive=frozenset(name for name in ("minimum", "maximum") if raw.get(f"exclusive{name.capitalize()}")),
        pattern=raw.get("pattern", ""),
        properties={name: parse(each, f"{path}.{name}") for name, each in raw.get("properties", {}).items()},
        values=ANYTHING if values is True else parse(values, f"{path}[*]") if values is not None else None,
        required=tuple(raw.get("required", ())),
        items=parse(raw["items"], f"{path}[]") if "items" in raw else None,
        list_type=list_type,
        list_keys=tuple(raw.get("x-kubernetes-list-map-keys", ())),
        rules=tuple(_rule(each, path) for each in raw.get("x-kubernetes-validations", ())),
    )


def _types(raw: Json, path: str) -> tuple[str, ...]:
    if raw.get("x-kubernetes-int-or-string"):
        return ("integer", "string")
    if raw.get("type") in TYPES:
        return (raw["type"],)
    if "type" not in raw and raw.get("x-kubernetes-preserve-unknown-fields"):
        return ()
    raise UnsupportedSchema(f"{path}: a structural schema names one of {', '.join(sorted(TYPES))}")


def _rule(raw: Json, path: str) -> Rule:
    if unknown := sorted(raw.keys() - KNOWN_OF_RULES):
        raise UnsupportedSchema(f"{path}: the lab does not support {', '.join(unknown)} in x-kubernetes-validations")
    reason = raw.get("reason", "FieldValueInvalid")
    if reason not in REASONS:
        raise UnsupportedSchema(f"{path}: the lab does not support reason {reason!r}")
    return Rule(
        text=raw.get("rule", ""),
        message=raw.get("message", "").strip(),
        message_expression=raw.get("messageExpression", ""),
        reason=cast("Reason", reason),
        field_path=raw.get("fieldPath", ""),
        optional_old_self=raw.get("optionalOldSelf", False),
    )


@dataclass(frozen=True, slots=True)
class Matched:
    """A value of an update beside the one that it replaces: what did not change is not held against an update.

    Only fields, and entries of lists with keys, have an earlier self; all others have None (`CorrelatedObject`).
    """

    node: Structural
    new: object
    old: object

    def key(self, name: str) -> "Matched | None":
        """The same of a field; None when one of the two has no such field."""
        node = self.node.child(name)
        if not isinstance(self.new, dict) or not isinstance(self.old, dict) or node is None or node is ANYTHING:
            return None
        return Matched(node, self.new[name], self.old[name]) if name in self.new and name in self.old else None

    def index(self, index: int) -> "Matched | None":
        """The same of an entry; None when it is new, or when the list has no keys."""
        if not isinstance(self.new, list) or self.node.items is None:
            return None
        old = entry_like(self.new[index], self.old, self.node)
        return None if old is None else Matched(self.node.items, self.new[index], old)

    def same(self) -> bool:
        """Nothing changed here; an entry of a list with keys may have moved."""
        match self.new, self.old:
            case dict(new), dict(old):
                return len(new) == len(old) and all((child := self.key(name)) and child.same() for name in new)
            case list(new), list(old) if self.node.list_type == "map":
                entries = range(len(new))
                return len(new) == len(old) and all((child := self.index(i)) and child.same() for i in entries)
        return canonical(self.new) == canonical(self.old)


def entry_like(entry: object, others: object, node: Structural) -> Json | None:
    """The first of `others` with the keys of `entry`; None where the list has no keys, or the entry lacks one."""
    keys = _keys(entry, node)
    if keys is None or not isinstance(others, list):
        return None
    return next((other for other in others if _keys(other, node) == keys), None)


def _keys(entry: object, node: Structural) -> str | None:
    if node.list_type != "map" or not isinstance(entry, dict):
        return None
    keys = [entry.get(key) for key in node.list_keys]
    return None if not keys or any(key is None or isinstance(key, dict | list) for key in keys) else canonical(keys)


def canonical(value: object) -> str:
    """Equal for what Go's DeepEqual holds equal: 1, 1.0 and true are three values there, and one in Python."""
    return json.dumps(value, sort_keys=True)
