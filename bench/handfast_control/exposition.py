"""What a server says of itself in Prometheus' text format: samples, and what came to them between two looks. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

_SAMPLE: Final = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
Labels = tuple[tuple[str, str], ...]
Samples = Mapping[tuple[str, Labels], float]
"""Values by name and sorted labels."""


def parse(text: str, prefixes: tuple[str, ...]) -> dict[tuple[str, Labels], float]:
    """Those whose names begin so: an API server tells tens of thousands."""
    found = {}
    for line in text.splitlines():
        if line.startswith(prefixes) and (match := _SAMPLE.match(line)) is not None:
            labels = tuple(sorted(_LABEL.findall(match[2] or "")))
            found[match[1], labels] = float(match[3])
    return found


@dataclass(frozen=True, slots=True)
class Between:
    """Two looks at counters that only grow."""

    before: Samples
    after: Samples

    def total(self, name: str, **labels: str) -> float:
        """What was added to all samples of that name that have these labels."""
        return sum(value for _, value in self._added(name, labels))

    def quantile(self, name: str, share: float, **labels: str) -> float | None:
        """What this share of a histogram's new observations do not exceed; within a bucket a straight line is assumed.

        None without observations, or when it lies above the last bound.
        """
        buckets: dict[float, float] = {}
        for found, value in self._added(f"{name}_bucket", labels):
            bound = float(found["le"])
            buckets[bound] = buckets.get(bound, 0) + value
        if not buckets.get(inf):
            return None
        wanted, low, below = share * buckets[inf], 0.0, 0.0
        for bound in sorted(buckets):
            if buckets[bound] >= wanted:
                if bound == inf:
                    return None
                return low + (bound - low) * (wanted - below) / max(buckets[bound] - below, 1e-12)
            low, below = bound, buckets[bound]
        return None

    def _added(self, name: str, labels: Mapping[str, str]) -> Iterator[tuple[dict[str, str], float]]:
        for key, value in self.after.items():
            found = dict(key[1])
            if key[0] == name and all(found.get(each) == wanted for each, wanted in labels.items()):
                yield found, value - self.before.get(key, 0)
