"""What turns one JSON document into another: RFC 6902, as few and as small operations as names allow. Pure.

Lists of named objects (containers, volumes, ports) are compared by name, so that a container keeps what is not changed.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

Json = dict[str, Any]


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Json]:
    """The operations, to be applied in order."""
    return list(_compare(before, after, ""))


def pointer(name: str) -> str:
    """A member's name as a part of a JSON pointer (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


def _compare(before: Any, after: Any, path: str) -> Iterator[Json]:
    if before is after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _mappings(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _lists(before, after, path)
    elif not _same(before, after):
        yield {"op": "replace", "path": path, "value": after}


def _mappings(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[Json]:
    for name in before:
        if name not in after:
            yield {"op": "remove", "path": f"{path}/{pointer(name)}"}
    for name, value in after.items():
        if name not in before:
            yield {"op": "add", "path": f"{path}/{pointer(name)}", "value": value}
        elif before[name] is not value:
            yield from _compare(before[name], value, f"{path}/{pointer(name)}")


def _lists(before: Sequence[Any], after: Sequence[Any], path: str) -> Iterator[Json]:
    matcher = SequenceMatcher(None, [_key(each) for each in before], [_key(each) for each in after], autojunk=False)
    # From the end to the start: an operation moves only the elements behind it.
    for kind, low, high, new_low, new_high in reversed(matcher.get_opcodes()):
        if kind == "equal":
            for offset in range(high - low):
                yield from _compare(before[low + offset], after[new_low + offset], f"{path}/{low + offset}")
            continue
        for index in reversed(range(low, high)):
            yield {"op": "remove", "path": f"{path}/{index}"}
        for value in reversed(after[new_low:new_high]):
            yield {"op": "add", "path": f"{path}/{low}", "value": value}


def _key(item: Any) -> Hashable:
    """What makes two elements of a list the same one."""
    if isinstance(item, Mapping):
        return ("named", str(item.get("name")), str(item.get("mountPath", "")))
    if isinstance(item, list):
        return "list"
    return ("value", type(item).__name__, item)


def _same(before: Any, after: Any) -> bool:
    """Equality of JSON, where true is not 1."""
    return type(before) is type(after) and bool(before == after)
