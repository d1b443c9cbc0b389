"""RFC 6902, as far as we write it, applied strictly: what is not there cannot be removed or replaced."""

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any


def applied(operations: Sequence[dict[str, Any]], document: Any) -> Any:
    """A patched copy."""
    result = json.loads(json.dumps(document))  # unlike deepcopy it shares nothing within the document
    for each in operations:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in each["path"].split("/")[1:]]
        target = result
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        if isinstance(target, list):
            _in_list(target, int(last), each)
        elif each["op"] == "remove":
            del target[last]
        else:
            assert each["op"] == "add" or last in target, f"{each['path']} is not there"
            target[last] = deepcopy(each["value"])
    return result


def _in_list(target: list[Any], index: int, operation: dict[str, Any]) -> None:
    assert 0 <= index < len(target) + (operation["op"] == "add"), f"{operation['path']} is not there"
    match operation["op"]:
        case "add":
            target.insert(index, deepcopy(operation["value"]))
        case "remove":
            del target[index]
        case _:
            target[index] = deepcopy(operation["value"])
