"""Whether a process grew: the second quarter of the time against the last one. Pure.

The first quarter is the warm-up: buffers, caches of certificates and the allocator's arenas find their size in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from handfast_soak.footprint import Footprint

PART: Final = 0.10
KIB: Final = 4 * 1024
"""It may grow by PART of what it was or by these, whichever is larger: the load is random."""
JUDGED_FROM_S: Final = 120.0
"""A shorter run is over before a process has found its size: it is shown and not judged."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Medians of the quarters, in KiB, and the most that was seen."""

    quarters: tuple[int, int, int, int]
    most: int

    @property
    def allowed(self) -> int:
        return max(int(self.quarters[1] * PART), KIB)

    @property
    def grown(self) -> int:
        return self.quarters[3] - self.quarters[1]

    @property
    def too_much(self) -> bool:
        return self.grown > self.allowed


def growth(samples: Sequence[Footprint], seconds: float, *, private: bool) -> Growth:
    """Of the samples within the load's time."""
    values = [
        (min(3, int(4 * each.at_s / seconds)), each.private_kib if private else each.rss_kib)
        for each in samples
        if each.at_s <= seconds
    ]
    quarters = tuple(int(median([value for at, value in values if at == quarter] or [0])) for quarter in range(4))
    return Growth((quarters[0], quarters[1], quarters[2], quarters[3]), max((value for _, value in values), default=0))
