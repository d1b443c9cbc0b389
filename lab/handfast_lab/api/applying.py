"""Server-side apply: what of an object one manager wants, merged with what the others wrote. Pure."""

import json
from typing import Any

from handfast_lab.api.listing import ListKeys, Path, key_of
from handfast_lab.api.ownership import ITEM, Owners, Writer, leaves, owners_of, said
from handfast_lab.api.problems import ApiProblem

Json = dict[str, Any]


def applied(live: Json | None, wanted: Json, manager: str, keys: ListKeys, *, force: bool) -> tuple[Json, Owners]:
    """The object as `manager` wants it, and who owns what then. Raises ApiProblem where others own other values."""
    before, owners = live or {}, owners_of(live)
    us = Writer(manager, "Apply")
    values, wishes = leaves(before, keys), leaves(wanted, keys)
    disputed = {path for path, value in wishes.items() if value != ITEM and path in values and values[path] != value}
    conflicts = {each: sorted(fields & disputed) for each, fields in owners.items() if each != us and fields & disputed}
    if conflicts and not force:
        raise _conflict(conflicts, before)
    result = _merge(before, wanted, keys, ())
    others = {path for each, fields in owners.items() if each != us for path in fields}
    dropped = owners.get(us, frozenset()) - wishes.keys()
    for path in sorted(dropped - others, key=len):  # an item goes before the fields that name it
        if not any(each[: len(path)] == path for each in others | wishes.keys()):
            _remove(result, path)
    after = {each: fields - disputed - dropped.difference(others) for each, fields in owners.items() if each != us}
    return result, {each: fields for each, fields in after.items() if fields} | {us: frozenset(wishes)}


def _merge(live: Any, wanted: Any, keys: ListKeys, names: Path) -> Any:
    if isinstance(wanted, dict):
        base = dict(live) if isinstance(live, dict) else {}
        return base | {name: _merge(base.get(name), inner, keys, (*names, name)) for name, inner in wanted.items()}
    if not isinstance(wanted, list) or not isinstance(live, list):
        return wanted
    by = keys(names, [*wanted, *live])
    if not by:
        return wanted
    fresh = {key_of(each, by): each for each in wanted}
    known = {key_of(each, by) for each in live}
    kept = [_merge(each, fresh.get(key_of(each, by), {}), keys, names) for each in live]
    return kept + [each for key, each in fresh.items() if key not in known]


def _remove(found: Any, path: Path) -> None:
    """Take a field or an item out, on copies: what is stored is never changed in place."""
    step, *rest = path
    if step.startswith("f:"):
        name = step[2:]
        if not isinstance(found, dict) or name not in found:
            return
        if not rest:
            del found[name]
            return
        found[name] = found[name].copy()
        _remove(found[name], tuple(rest))
        return
    wanted = json.loads(step[2:])
    by = tuple(wanted)
    place = next((i for i, each in enumerate(found) if key_of(each, by) == tuple(wanted.values())), None)
    if place is None:
        return
    if not rest:
        del found[place]
        return
    found[place] = found[place].copy()
    _remove(found[place], tuple(rest))


def _conflict(conflicts: dict[Writer, list[Path]], live: Json) -> ApiProblem:
    entries = (live.get("metadata") or {}).get("managedFields") or ()
    times = {(each["manager"], each["operation"], each.get("subresource", "")): each for each in entries}
    named: dict[str, list[Path]] = {}
    for writer, paths in sorted(conflicts.items(), key=lambda each: each[0].manager):
        entry = times[writer.manager, writer.operation, writer.subresource]
        words = f'"{writer.manager}"' + (f' with subresource "{writer.subresource}"' if writer.subresource else "")
        if writer.operation == "Update":
            words += f" using {entry['apiVersion']}" + (f" at {entry['time']}" if "time" in entry else "")
        named[words] = paths
    count = sum(map(len, named.values()))
    if count == 1:
        (words, [path]) = next(iter(named.items()))
        message = f"Apply failed with 1 conflict: conflict with {words}: {said(path)}"
    else:
        lines = [line for words, paths in named.items()
                 for line in (f"conflicts with {words}:", *(f"- {said(path)}" for path in paths))]  # fmt: skip
        message = f"Apply failed with {count} conflicts: " + "\n".join(lines)
    causes = [{"reason": "FieldManagerConflict", "message": f"conflict with {words}", "field": said(path)}
              for words, paths in named.items() for path in paths]  # fmt: skip
    return ApiProblem(409, "Conflict", message, {"causes": causes})
