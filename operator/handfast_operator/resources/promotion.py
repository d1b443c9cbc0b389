"""The clock of mode `Auto` as a policy's status keeps it: the only thing that our own writing changes for sidecars.

Who may write the status of policies may therefore promote them; nobody but the operator is given that right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from handfast_operator.resources.times import format_time


@dataclass(frozen=True, slots=True)
class Promotion:
    """`status.promotion`, in whole seconds; None: left out."""

    quiet_since: datetime | None = None
    """Since when no plaintext client was seen, later by the time that the clock stood; None while one is seen."""
    paused_at: datetime | None = None
    """Since when the clock stands."""
    promoted_at: datetime | None = None

    @property
    def promoted(self) -> bool:
        """Whether `Auto` is `Strict` now."""
        return self.promoted_at is not None


NOT_STARTED: Final = Promotion()


def parse_promotion(status: Mapping[str, Any] | None) -> Promotion:
    """From a policy's status; raises ValueError at a time that is none, which the schema does not let through."""
    raw = (status or {}).get("promotion") or {}
    return Promotion(*(_parse(raw.get(name)) for name in ("quietSince", "pausedAt", "promotedAt")))


def promotion_to_json(promotion: Promotion) -> dict[str, str]:
    """As it stands in the status."""
    times = {
        "quietSince": promotion.quiet_since,
        "pausedAt": promotion.paused_at,
        "promotedAt": promotion.promoted_at,
    }
    return {name: format_time(time) for name, time in times.items() if time is not None}


def _parse(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
