"""What a run found, and its JSON: the promise that tables, picture and documentation are made from. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

ERRORS = "errors"
_FIELDS = frozenset({"proxy", "case", "repeats", "min", "max", "failed"})


@dataclass(frozen=True, slots=True)
class Result:
    """One proxy's figures in one case: medians of all repeats."""

    proxy: str
    case: str
    figures: Mapping[str, float]
    repeats: int = 1
    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)
    failed: str = ""
    """Why there are no figures: a peer that could not do it."""


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    machine: Mapping[str, Any]
    results: tuple[Result, ...]

    def find(self, proxy: str, case: str) -> Result | None:
        """None when it was not measured."""
        return next((each for each in self.results if (each.proxy, each.case) == (proxy, case)), None)

    def figure(self, proxy: str, case: str, name: str) -> float | None:
        """None when it was not measured."""
        found = self.find(proxy, case)
        return None if found is None else found.figures.get(name)

    def proxies(self, case: str) -> list[str]:
        """Those that were measured in a case, in the run's order."""
        return [each.proxy for each in self.results if each.case == case]

    def dump(self) -> str:
        """As JSON."""
        return json.dumps({"machine": self.machine, "results": [_raw(each) for each in self.results]}, indent=1) + "\n"


def parse_report(text: str) -> Report:
    """The inverse of `Report.dump`. Raises ValueError, KeyError."""
    raw = json.loads(text)
    return Report(raw["machine"], tuple(_parse(each) for each in raw["results"]))


def middle(proxy: str, case: str, samples: Iterable[Mapping[str, float]]) -> Result:
    """The median of each figure; of errors the sum, as one run with errors is one too many."""
    every = list(samples)
    values = {name: [each[name] for each in every if name in each] for name in every[0]}
    figures = {name: sum(each) if name == ERRORS else median(each) for name, each in values.items()}
    if not figures.get(ERRORS, 1):
        del figures[ERRORS]
    low = {name: min(values[name]) for name in figures}
    high = {name: max(values[name]) for name in figures}
    return Result(proxy, case, figures, len(every), low, high)


def _raw(result: Result) -> dict[str, Any]:
    raw: dict[str, Any] = {"proxy": result.proxy, "case": result.case, **_rounded(result.figures)}
    if result.failed:
        return {**raw, "failed": result.failed}
    raw["repeats"] = result.repeats
    if result.repeats > 1:
        raw |= {"min": _rounded(result.low), "max": _rounded(result.high)}
    return raw


def _parse(raw: Mapping[str, Any]) -> Result:
    figures = {name: value for name, value in raw.items() if name not in _FIELDS}
    return Result(
        raw["proxy"],
        raw["case"],
        figures,
        raw.get("repeats", 0),
        raw.get("min", figures),
        raw.get("max", figures),
        raw.get("failed", ""),
    )


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """Four significant digits are more than this can know, but readable."""
    return {name: float(f"{value:.5g}") for name, value in figures.items()}
