"""Status conditions as the API conventions ask for them (metav1.Condition): merged, so that times tell of changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from handfast_operator.resources.times import format_time

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement about an object."""

    type: str
    status: bool
    reason: str
    """CamelCase, for programs."""
    message: str
    """A sentence, for people."""


def merge_conditions(
    known: Sequence[Mapping[str, Any]], wanted: Sequence[Condition], generation: int, now: datetime
) -> list[Json]:
    """The list to write: a condition whose status did not change keeps its lastTransitionTime."""
    before = {each.get("type"): each for each in known}
    merged: list[Json] = []
    for condition in wanted:
        status = "True" if condition.status else "False"
        old = before.get(condition.type, {})
        since = old.get("lastTransitionTime") if old.get("status") == status else None
        merged.append(
            {
                "type": condition.type,
                "status": status,
                "reason": condition.reason,
                "message": condition.message,
                "observedGeneration": generation,
                "lastTransitionTime": since or format_time(now),
            }
        )
    return merged
