"""Label selectors (metav1.LabelSelector): parsed once, matched often."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One of matchExpressions; matchLabels become `In` with a single value."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Labels) -> bool:
        """As the API server would decide it; an operator it does not know selects nothing."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
            case _:
                return False


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; without any, everything is selected."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Labels) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)


def parse_selector(raw: Mapping[str, Any] | None) -> LabelSelector | None:
    """A selector from the API server's JSON; None stays None."""
    if raw is None:
        return None
    labels = raw.get("matchLabels") or {}
    expressions = raw.get("matchExpressions") or ()
    return LabelSelector(
        (
            *(Requirement(key, "In", frozenset({value})) for key, value in sorted(labels.items())),
            *(Requirement(each["key"], each["operator"], frozenset(each.get("values") or ())) for each in expressions),
        )
    )
