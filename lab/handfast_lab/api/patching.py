"""Merge patch (RFC 7386), JSON patch (RFC 6902) and the strategic merge patch of the built-in kinds. Pure."""

from typing import Any

import jsonpatch
import jsonpointer

from handfast_lab.api.listing import Path, built_in_keys
from handfast_lab.api.problems import ApiProblem, bad_request

Json = dict[str, Any]


def merge_patch(found: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    base = dict(found) if isinstance(found, dict) else {}
    for name, value in patch.items():
        if value is None:
            base.pop(name, None)
        else:
            base[name] = merge_patch(base.get(name), value)
    return base


def json_patch(found: Json, operations: Any) -> Json:
    """RFC 6902. Raises ApiProblem: 400 for what is no patch, 422 for one that does not fit."""
    try:
        patch = jsonpatch.JsonPatch(operations)
    except (jsonpatch.InvalidJsonPatch, TypeError, AttributeError) as error:
        raise bad_request(f"error decoding patch: {error}") from error
    try:
        changed: Json = patch.apply(found)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError) as error:
        message = f"the server rejected our request due to an error in our request: {error}"
        raise ApiProblem(422, "Invalid", message) from error
    return changed


def strategic_patch(found: Any, patch: Any, path: Path = ()) -> Any:
    """Merges lists by their keys, and knows the directives `$patch`, `$retainKeys` and `$deleteFromPrimitiveList`.

    `$setElementOrder` is left out: the order of a list stays, what is new comes last.
    """
    if not isinstance(patch, dict):
        return patch
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    base = dict(found) if isinstance(found, dict) and directive != "replace" else {}
    if "$retainKeys" in patch:
        base = {name: value for name, value in base.items() if name in patch["$retainKeys"]}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            base[field] = [each for each in base.get(field) or () if each not in value]
        elif name.startswith("$"):
            continue
        elif value is None:
            base.pop(name, None)
        elif isinstance(value, list):
            base[name] = _list(base.get(name) or [], value, (*path, name))
        else:
            base[name] = strategic_patch(base.get(name), value, (*path, name))
    return base


def _list(found: list[Any], patch: list[Any], path: Path) -> list[Any]:
    if any(isinstance(each, dict) and each.get("$patch") == "replace" for each in patch):
        return [each for each in patch if not (isinstance(each, dict) and "$patch" in each)]
    # Finalizers alone of the lists of plain values are merged in the built-in kinds.
    if path == ("metadata", "finalizers"):
        return [*found, *(each for each in patch if each not in found)]
    keys = built_in_keys(path, [*patch, *found])[:1]
    if not keys:
        return patch
    result = list(found)
    for item in patch:
        name = item.get(keys[0])
        if name is None:
            raise bad_request(f"map: {item} does not contain declared merge key: {keys[0]}")
        place = next((i for i, each in enumerate(result) if each.get(keys[0]) == name), None)
        if item.get("$patch") == "delete":
            result = [each for each in result if each.get(keys[0]) != name]
        elif place is None:
            result.append(strategic_patch({}, item, path))
        else:
            result[place] = strategic_patch(result[place], item, path)
    return result
