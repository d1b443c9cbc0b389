"""Counts and lists in the sentences of a status. Pure."""

from collections.abc import Sequence


def pods(count: int) -> str:
    """`1 pod`, `2 pods`."""
    return "1 pod" if count == 1 else f"{count} pods"


def some(values: Sequence[object], most: int, total: int = 0) -> str:
    """The first ones by name, and how many more there are; `total` where not all of them are in `values`."""
    named = values[:most]
    more = max(total, len(values)) - len(named)
    return ", ".join(map(str, named)) + (f" and {more} more" if more else "")
