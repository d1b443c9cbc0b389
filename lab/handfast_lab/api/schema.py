"""What the server does with a custom resource, stage by stage: prune, default, validate, evaluate the rules.

One rule: each stage takes the object as the one before has left it, so a caller prunes, then defaults, then asks for
the problems, and stores what `default` gave (as k8s.io/apiextensions-apiserver does in `pkg/registry/customresource`).
No object is changed in place.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from handfast_lab.api import validation
from handfast_lab.api.cel import BrokenRule, BudgetExceeded, CompiledRule, RuleFailed, matches, seen
from handfast_lab.api.structural import ANYTHING, Matched, Structural, UnsupportedSchema, entry_like, parse

Json = dict[str, Any]

OF_EVERY_OBJECT = frozenset({"apiVersion", "kind", "metadata"})
TEXT = Structural(types=("string",))
# Of metadata, rules see two names and no more.
SEEN_OF_EVERY_OBJECT = {
    "apiVersion": TEXT,
    "kind": TEXT,
    "metadata": Structural(types=("object",), properties={"name": TEXT, "generateName": TEXT}),
}


@dataclass(frozen=True, slots=True)
class CustomSchema:
    """One version of a CustomResourceDefinition, its rules compiled."""

    root: Structural
    rules: "Rules | None"

    @classmethod
    def of(cls, crd: Json, version: str) -> "CustomSchema":
        """UnsupportedSchema when there is no such version, or when it asks for what the lab cannot check."""
        name = crd["metadata"]["name"]
        found = next((each for each in crd["spec"]["versions"] if each["name"] == version), None)
        if found is None or crd["spec"].get("preserveUnknownFields"):
            raise UnsupportedSchema(f"{name}: the lab finds no version {version} with a structural schema")
        root = parse(found.get("schema", {}).get("openAPIV3Schema", {}), name)
        return cls(root, Rules.of(replace(root, properties={**root.properties, **SEEN_OF_EVERY_OBJECT})))

    def prune(self, obj: Json) -> Json:
        """A copy without the fields that the schema does not name."""
        copied = copy.deepcopy(obj)
        for _ in _prune(copied, self.root, "", preserving=False):
            pass
        return copied

    def unknown_fields(self, obj: Json) -> list[str]:
        """What `prune` would take out, sorted as the server's strict decoding tells it."""
        return sorted(_prune(copy.deepcopy(obj), self.root, "", preserving=False))

    def default(self, obj: Json) -> Json:
        """A copy without nulls where null is no value, and with the schema's defaults."""
        copied = copy.deepcopy(obj)
        _drop_nulls(copied, self.root)
        _default(copied, self.root)
        return copied

    def problems(self, obj: Json, old: Json | None) -> list[str]:
        """Sentences as in the server's error lists; what an update (`old`) leaves as it was is no problem of it."""
        matched = None if old is None else Matched(self.root, obj, old)
        found = validation.problems(self.root, obj, matched=matched)
        if old is None or not any(validation.duplicates(self.root, old)):
            found += validation.duplicates(self.root, obj)
        if self.rules is not None and any(each.blocks for each in found):
            found.append(validation.UNCHECKED)
        elif self.rules is not None:
            found += validation.broken(_until_budget(self.rules.broken(obj, old, "", Ratchet(matched))))
        return list(dict.fromkeys(map(str, found)))


def _prune(value: object, node: Structural, path: str, *, preserving: bool) -> Iterator[str]:
    preserving = preserving or node.preserves
    match value:
        case dict():
            for name in list(value):
                inner = f"{path}.{name}" if path else name
                if not path and name in OF_EVERY_OBJECT:
                    continue
                if (child := node.child(name)) is not None:
                    yield from _prune(value[name], child, inner, preserving=False)
                elif not preserving:
                    del value[name]
                    yield inner
        case list():
            for i, each in enumerate(value):
                yield from _prune(each, node.items or ANYTHING, f"{path}[{i}]", preserving=preserving)
        case _:
            pass


def _drop_nulls(value: object, node: Structural) -> None:
    match value:
        case dict():
            for name in list(value):
                child = node.child(name) or ANYTHING
                if value[name] is None and not child.nullable and child.default is None:
                    del value[name]
                else:
                    _drop_nulls(value[name], child)
        case list() if node.items is not None:
            for each in value:
                _drop_nulls(each, node.items)


def _default(value: object, node: Structural) -> None:
    match value:
        case dict():
            for name, child in node.properties.items():
                if child.default is not None and (name not in value or (value[name] is None and not child.nullable)):
                    value[name] = copy.deepcopy(child.default)
            for name in value:
                child = node.child(name) or ANYTHING
                if value[name] is None and not child.nullable:
                    value[name] = copy.deepcopy(child.default)
                _default(value[name], child)
        case list() if node.items is not None:
            for i in range(len(value)):
                if value[i] is None and not node.items.nullable:
                    value[i] = copy.deepcopy(node.items.default)
                _default(value[i], node.items)


@dataclass(frozen=True, slots=True)
class Ratchet:
    """Whether a rule looks at what an update left as it was: here, or else at the nearest place with a past."""

    here: Matched | None
    above: Matched | None = None

    def holds(self) -> bool:
        """A rule that is broken now was broken before."""
        nearest = self.here or self.above
        return nearest is not None and nearest.same()

    def to(self, step: str | int) -> "Ratchet":
        """The same for a field or an entry of this place."""
        if self.here is None:
            return self
        if self.above is None and step in validation.TYPE_META:
            return Ratchet(None)
        return Ratchet(self.here.index(step) if isinstance(step, int) else self.here.key(step), self.here)


@dataclass(frozen=True, slots=True)
class Rules:
    """The compiled rules at one place of a schema and below it; places without any have none of these."""

    node: Structural
    own: tuple[CompiledRule, ...]
    properties: Mapping[str, "Rules"]
    values: "Rules | None"
    items: "Rules | None"

    @classmethod
    def of(cls, node: Structural | None) -> "Rules | None":
        """UnsupportedSchema when one does not compile, or a pattern."""
        if node is None:
            return None
        if node.rules and (not node.types or node.format == "date-time"):
            raise UnsupportedSchema("the lab does not support rules of values without a type, nor of times")
        try:
            matches("", node.pattern)
        except RuleFailed as failure:
            raise UnsupportedSchema(f"pattern {node.pattern!r} does not compile: {failure}") from failure
        own = tuple(CompiledRule.of(rule, node) for rule in node.rules)
        properties = {name: rules for name, child in node.properties.items() if (rules := cls.of(child)) is not None}
        values, items = cls.of(node.values), cls.of(node.items)
        return cls(node, own, properties, values, items) if own or properties or values or items else None

    def broken(self, value: object, old: object, path: str, ratchet: Ratchet) -> Iterator[BrokenRule]:
        """The rules that `value` breaks, its own first; BudgetExceeded after the last that could be evaluated."""
        if value is None:
            return
        for rule in self.own:
            if old is not None or not rule.expression.uses_old_self or rule.rule.optional_old_self:
                yield from self._broken(rule, value, old, path, ratchet)
        match value:
            case dict():
                before = old if isinstance(old, dict) else {}
                for name, each in value.items():
                    inner = f"{path}[{name}]" if self.values else f"{path}.{name}" if path else name
                    if rules := self.values or self.properties.get(name):
                        yield from rules.broken(each, before.get(name), inner, ratchet.to(name))
            case list() if self.items is not None:
                for i, each in enumerate(value):
                    former = entry_like(each, old, self.node)
                    yield from self.items.broken(each, former, f"{path}[{i}]", ratchet.to(i))

    def _broken(
        self, rule: CompiledRule, value: object, old: object, path: str, ratchet: Ratchet
    ) -> Iterator[BrokenRule]:
        at = f"{path}.{rule.at}" if path and rule.at else rule.at or path
        try:
            own = seen(value, self.node)
            former = seen(old, self.node) if rule.expression.uses_old_self and old is not None else None
            if rule.expression.evaluate(own, former) is True:
                return
            detail = rule.words(own, former)
        except RuleFailed as failure:
            yield BrokenRule(path, self.node.type, rule.failed(str(failure)))
        except BudgetExceeded:
            yield BrokenRule(path, self.node.type, rule.too_costly())
            raise
        else:
            if rule.expression.uses_old_self or not ratchet.holds():
                yield BrokenRule(at, value, detail, rule.rule.reason)


def _until_budget(found: Iterator[BrokenRule]) -> Iterator[BrokenRule]:
    try:
        yield from found
    except BudgetExceeded:
        return
