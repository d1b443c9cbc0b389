"""What a sidecar's `/metrics` says, read once."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_SAMPLE: Final = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL: Final = re.compile(r'([a-z_]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Scrape:
    """One answer of `/metrics`."""

    samples: tuple[tuple[str, Mapping[str, str], float], ...]

    @classmethod
    def parse(cls, text: str) -> "Scrape":
        found = filter(None, map(_SAMPLE.fullmatch, text.splitlines()))
        return cls(
            tuple((each["name"], dict(_LABEL.findall(each["labels"] or "")), float(each["value"])) for each in found)
        )

    def total(self, name: str, **labels: str) -> int:
        """The sum of the samples that have these labels."""
        return int(sum(value for each, has, value in self.samples if each == name and labels.items() <= has.items()))

    def by(self, name: str, label: str) -> Counter[str]:
        """Sums for each value of a label."""
        sums: Counter[str] = Counter()
        for each, has, value in self.samples:
            if each == name:
                sums[has.get(label, "")] += int(value)
        return sums
