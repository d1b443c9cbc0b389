"""Values against their schema, in the sentences of the real server, because tests and people read those.

One rule: where k8s.io/kube-openapi `pkg/validation` (with apimachinery's `pkg/util/validation/field`) is strange, this
is strange in the same way. That is why it is no `jsonschema`: its words, order and idea of numbers are all different.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from handfast_lab.api.cel import BrokenRule, matches
from handfast_lab.api.structural import Matched, Structural, canonical

OMITTED: Final = object()
INVALID: Final = "Invalid value"
REQUIRED: Final = "Required value"
DUPLICATE: Final = "Duplicate value"
TITLES = {"FieldValueForbidden": "Forbidden", "FieldValueRequired": REQUIRED, "FieldValueDuplicate": DUPLICATE}
RANGES = {"int32": 2**31, "int64": 2**63, "": 2**63}
EXACT = 2**53  # floats hold every whole number below it
NAMES = {"NoneType": "null", "bool": "boolean", "str": "string", "list": "array", "dict": "object"}
TYPE_META = {"apiVersion", "kind"}  # the server converts them before it compares: never the same as before
DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(.\d+)?(z|[+-]\d{2}:\d{2})", re.ASCII)
ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
ESCAPES |= {'"': '\\"', "\\": "\\\\"}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong; `str` is the server's sentence. `blocks`: rules are not evaluated beside it."""

    path: str
    title: str
    value: object = OMITTED
    detail: str = ""
    blocks: bool = False

    def __str__(self) -> str:
        value = "" if self.value is OMITTED else f": {shown(self.value)}"
        return f"{self.path or '<nil>'}: {self.title}{value}{self.detail and f': {self.detail}'}"


UNCHECKED = FieldError(
    "",
    INVALID,
    None,
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)


def broken(rules: Iterable[BrokenRule]) -> Iterator[FieldError]:
    """`fieldErrorForReason`: only the title says why, and a duplicate needs no message."""
    for rule in rules:
        title = TITLES.get(rule.reason, INVALID)
        value = rule.value if title in {INVALID, DUPLICATE} and not isinstance(rule.value, dict | list) else OMITTED
        yield FieldError(rule.path, title, value, "" if title == DUPLICATE else rule.detail)


def problems(node: Structural, value: object, path: str = "", matched: Matched | None = None) -> list[FieldError]:
    """What is wrong with `value`; nothing when an update left it as it was."""
    found = list(_problems(node, value, path, matched))
    return [] if found and matched and matched.same() else found


def _problems(node: Structural, value: object, path: str, matched: Matched | None) -> Iterator[FieldError]:
    yield from _mistyped(node, value, path)
    if isinstance(value, str):
        yield from _text(node, value, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(node, value, path)
    elif isinstance(value, list):
        yield from _list(node, value, path, matched)
    if node.enum and not any(_like(value, each) for each in node.enum):
        allowed = ", ".join(quoted(each if isinstance(each, str) else as_json(each)) for each in node.enum)
        yield FieldError(path, "Unsupported value", value, f"supported values: {allowed}", blocks=True)
    if isinstance(value, dict):
        yield from _object(node, value, path, matched)


def _mistyped(node: Structural, value: object, path: str) -> Iterator[FieldError]:
    if not node.types or (value is None and node.nullable):
        return
    name, form = type_of(value)
    whole = isinstance(value, float) and value.is_integer() and abs(value) < EXACT
    fits = name in node.types or (whole and "integer" in node.types) or (name == "integer" and "number" in node.types)
    expected, got = ",".join(node.types), name
    if node.format and value is not None and not isinstance(value, str | list):
        fits = fits or form == node.format
        expected, got = node.format, form
    elif node.types == ("string",) and node.format and value is not None:
        return  # the server takes a list for a string with a format
    if not fits:
        yield FieldError(path, INVALID, got, f"{path} in body must be of type {expected}: {quoted(got)}", blocks=True)


def type_of(value: object) -> tuple[str, str]:
    """The names that JSON schema and Go have for the type of a value; what fits no int64 is a float there."""
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return "integer", "int64"
    name = NAMES.get(type(value).__name__, "number")
    return name, "float64" if name == "number" else ""


def _text(node: Structural, value: str, path: str) -> Iterator[FieldError]:
    longest, shortest = node.limits.get("maxLength"), node.limits.get("minLength", 0)
    if longest is not None and len(value) > longest:
        detail = f"may not be more than {longest} byte{'' if longest == 1 else 's'}"
        yield FieldError(path, "Too long", detail=detail, blocks=True)
    elif len(value) < shortest:
        yield FieldError(path, INVALID, value, f"{path} in body should be at least {shortest} chars long")
    elif node.pattern and not matches(value, node.pattern):
        yield FieldError(path, INVALID, value, f"{path} in body should match '{node.pattern}'")
    if node.format == "date-time" and not is_date_time(value):
        detail = f"{path} in body must be of type date-time: {quoted(value)}"
        yield FieldError(path, INVALID, value, detail, blocks=True)


def is_date_time(text: str) -> bool:
    """RFC 3339 with a zone, as strfmt takes it: a letter may be small, and a second is never the 60th."""
    day, *rest = text.lower().split("t")
    if not rest or not DATE.fullmatch(day) or not TIME.fullmatch(rest[0]):
        return False
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


def _number(node: Structural, value: float, path: str) -> Iterator[FieldError]:
    end = RANGES.get(node.format, 0)
    if node.types == ("integer",) and not (-end <= value < end and float(value).is_integer()):
        form = f"with format {node.format}" if node.format else "(default format)"
        yield FieldError("", INVALID, "", f"Checked value must be of type integer {form} in {path}")
    for name, sign, words in (("minimum", 1, "greater"), ("maximum", -1, "less")):
        if name not in node.limits:
            continue
        # A limit is cut to a whole number before a whole number is compared with it.
        limit = int(node.limits[name]) if isinstance(value, int) else float(node.limits[name])
        exclusive = name in node.exclusive
        if sign * value < sign * limit or (exclusive and value == limit):
            than = f"{words} than{'' if exclusive else ' or equal to'} {shown(limit)}"
            yield FieldError(path, INVALID, value, f"{path} in body should be {than}")


def _list(node: Structural, value: list[object], path: str, matched: Matched | None) -> Iterator[FieldError]:
    if node.items is not None:
        for i, each in enumerate(value):
            yield from problems(node.items, each, f"{path}[{i}]", matched and matched.index(i))
    yield from _count(node, len(value), path, "minItems", "maxItems", "items")


def _count(node: Structural, count: int, path: str, least: str, most: str, what: str) -> Iterator[FieldError]:
    if count < node.limits.get(least, 0):
        yield FieldError(path, INVALID, count, f"{path} in body should have at least {node.limits[least]} {what}")
    if most in node.limits and count > (limit := node.limits[most]):
        detail = f"must have at most {limit} item{'' if limit == 1 else 's'}"
        yield FieldError(path, "Too many", count, detail, blocks=True)


def _object(node: Structural, value: dict[str, object], path: str, matched: Matched | None) -> Iterator[FieldError]:
    yield from _count(node, len(value), path, "minProperties", "maxProperties", "properties")
    for name, each in value.items():
        child, inner = node.child(name), f"{path}.{name}" if path else name
        if child is not None:
            former = None if matched is None or (not path and name in TYPE_META) else matched.key(name)
            yield from problems(child, each, inner, former)
    for name in node.required:
        if name not in value:
            yield FieldError(f"{path}.{name}" if path else name, REQUIRED, blocks=True)


def duplicates(node: Structural, value: object, path: str = "") -> Iterator[FieldError]:
    """Entries that lists of type set and map hold twice; each is told once, at its second place."""
    if isinstance(value, dict):
        for name, each in value.items():
            inner = f"{path}[{name}]" if node.values is not None else f"{path}.{name}" if path else name
            if (child := node.child(name)) is not None:
                yield from duplicates(child, each, inner)
    elif isinstance(value, list):
        if node.list_type != "atomic":
            yield from _twice(node, value, path)
        for i, each in enumerate(value):
            if node.items is not None:
                yield from duplicates(node.items, each, f"{path}[{i}]")


def _twice(node: Structural, value: list[object], path: str) -> Iterator[FieldError]:
    stray = next((i for i, each in enumerate(value) if each is not None and not isinstance(each, dict)), None)
    if node.list_type == "map" and stray is not None:
        stands = "must be an object for an array of list-type map"
        yield FieldError(f"{path}[{stray}]", INVALID, value[stray], stands)
        return
    seen: dict[str, int] = {}
    for i, each in enumerate(value):
        key = each if node.list_type == "set" else _keys(node, each)
        times = seen[canonical(key)] = seen.get(canonical(key), 0) + 1
        if times == 2:
            yield FieldError(f"{path}[{i}]", DUPLICATE, key)


def _keys(node: Structural, entry: object) -> dict[str, object]:
    return {name: entry[name] for name in node.list_keys if name in entry} if isinstance(entry, dict) else {}


def _like(value: object, other: object) -> bool:
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, float) and isinstance(other, int):
        return int(value) == other  # Go converts before it compares
    return value == other if isinstance(value, int) else canonical(value) == canonical(other)


def shown(value: object) -> str:
    """As Go's %v prints a number and %q a string; all else as JSON."""
    match value:
        case str():
            return quoted(value)
        case float():
            number = Decimal(repr(value)).normalize()
            power = number.adjusted()
            return f"{number:f}" if -4 <= power < 6 else f"{number.scaleb(-power):f}e{power:+03d}"
        case _:
            return as_json(value)


def as_json(value: object) -> str:
    """As Go's encoder writes it: keys sorted, no spaces, and safe inside HTML."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def quoted(text: str) -> str:
    """As Go's %q writes it."""
    return f'"{"".join(ESCAPES.get(char) or (char if char.isprintable() else _escaped(ord(char))) for char in text)}"'


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
