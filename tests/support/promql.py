"""What an expression of PromQL asks for: names of metrics, and names of labels. Enough of the language for our own."""

import re
from dataclasses import dataclass
from typing import Final

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_RANGE: Final = re.compile(r"\[[^\]]*\]")
_SELECTOR: Final = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_WORD: Final = re.compile(r"(?<![\w.:])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])")
_KEYWORDS: Final = frozenset(
    {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "offset", "bool"}
)
_DURATION: Final = re.compile(r"\b\d+(?:ms|[smhdwy])\b")


@dataclass(frozen=True, slots=True)
class Asked:
    """Of one expression."""

    metrics: frozenset[str]
    matchers: frozenset[tuple[str, str, str]]
    """Metric, label, and the text that it is compared with, as it is written between the quotes."""
    groupings: frozenset[str]
    """Labels in `by (...)` and its like."""


def asked(expression: str) -> Asked:
    """What it asks for; it must be an expression that Prometheus can read."""
    matchers = frozenset(
        (metric, label, text)
        for metric, inside in _SELECTOR.findall(expression)
        for label, text in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"', inside)
    )
    bare = _RANGE.sub("", re.sub(r"\{[^}]*\}", "", _STRING.sub('""', expression)))
    groupings = frozenset(
        label.strip() for inside in _GROUPING.findall(bare) for label in inside.split(",") if label.strip()
    )
    bare = _DURATION.sub("", _GROUPING.sub("", bare))
    return Asked(frozenset(set(_WORD.findall(bare)) - _KEYWORDS), matchers, groupings)
