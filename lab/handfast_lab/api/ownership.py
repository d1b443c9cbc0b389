"""Who wrote which field: `metadata.managedFields` as sets of paths, and what a write does to them. Pure.

The one rule: whoever changes a value owns it from then on, and whoever had it does not.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from handfast_lab.api.listing import ListKeys, Path, key_of

Json = dict[str, Any]
_UNOWNED: Final = {("f:apiVersion",), ("f:kind",)} | {
    ("f:metadata", f"f:{name}")
    for name in ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
                 "deletionGracePeriodSeconds", "managedFields", "generateName", "selfLink")
}  # fmt: skip
ITEM: Final = "<item>"
"""The value of an item's own path: that it is there."""
Fields = frozenset[Path]


@dataclass(frozen=True, slots=True)
class Writer:
    """A name under which fields are owned."""

    manager: str
    operation: str
    """`Apply` or `Update`."""
    subresource: str = ""


Owners = dict[Writer, Fields]


def leaves(found: Json, keys: ListKeys) -> dict[Path, Any]:
    """Each field that has a value of its own, by its path in the notation of fieldsV1."""
    everything = _leaves(found, keys, (), ())
    return {path: value for path, value in everything if path[:1] not in _UNOWNED and path[:2] not in _UNOWNED}


def _leaves(value: Any, keys: ListKeys, path: Path, names: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, keys, (*path, f"f:{name}"), (*names, name))
        return
    by = keys(names, value) if isinstance(value, list) else ()
    if not by or not all(key_of(each, by) for each in value):
        yield path, value
        return
    for each in value:
        step = (*path, step_of(key_of(each, by) or (), by))
        yield step, ITEM
        yield from _leaves(each, keys, step, names)


def step_of(key: tuple[Any, ...], by: tuple[str, ...]) -> str:
    """An item's step of a path."""
    return "k:" + json.dumps({name: part for name, part in zip(by, key, strict=True) if part is not None},
                             separators=(",", ":"))  # fmt: skip


def owners_of(found: Json | None) -> Owners:
    """As an object's managedFields tell."""
    entries = ((found or {}).get("metadata") or {}).get("managedFields") or ()
    return {
        Writer(each["manager"], each["operation"], each.get("subresource", "")): frozenset(_paths(each["fieldsV1"], ()))
        for each in entries
    }


def updated(owners: Owners, before: dict[Path, Any], after: dict[Path, Any], writer: Writer) -> Owners:
    """After `writer` has changed these values."""
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    gone = before.keys() - after.keys()
    kept = {each: fields - gone - (changed if each != writer else set()) for each, fields in owners.items()}
    kept[writer] = kept.get(writer, frozenset()) | changed
    return {each: fields for each, fields in kept.items() if fields}


def entries(owners: Owners, api_version: str, before: Json | None, now: str) -> list[Json]:
    """What is written into an object; an entry that did not change keeps its time."""
    known = owners_of(before)
    times = {
        Writer(each["manager"], each["operation"], each.get("subresource", "")): each.get("time", now)
        for each in ((before or {}).get("metadata") or {}).get("managedFields") or ()
    }
    return [
        {
            "manager": writer.manager,
            "operation": writer.operation,
            "apiVersion": api_version,
            "time": times[writer] if known.get(writer) == fields else now,
            "fieldsType": "FieldsV1",
            "fieldsV1": _nested(fields),
            **({"subresource": writer.subresource} if writer.subresource else {}),
        }
        for writer, fields in owners.items()
    ]


def said(path: Path) -> str:
    """A path as a conflict names it: `.spec.containers[name="app"].image`."""
    words = []
    for step in path:
        if step.startswith("k:"):
            words.append("[" + ",".join(f"{name}={json.dumps(v)}" for name, v in json.loads(step[2:]).items()) + "]")
        else:
            words.append(f".{step[2:]}")
    return "".join(words)


def _nested(fields: Iterable[Path]) -> Json:
    tree: Json = {}
    for path in sorted(fields):
        place = tree
        for step in path:
            place = place.setdefault(step, {})
        if path[-1].startswith("k:"):
            place["."] = {}
    return tree


def _paths(tree: Json, path: Path) -> Iterator[Path]:
    if not tree and path:
        yield path
    for step, inner in tree.items():
        if step == ".":
            yield path
        else:
            yield from _paths(inner, (*path, step))
