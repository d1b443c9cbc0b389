"""Tables of what was measured, as Markdown and JSON, and the bars. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from handfast_bench.table import number

HELD: Final = "held"
"""The figure that is 1 where a bar is held, and 0 where it is missed."""
Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured, and its figures by the names of columns; None where there is nothing to measure."""

    what: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Table:
    """One part of a run."""

    name: str
    """In the JSON."""
    title: str
    columns: Mapping[str, str]
    """Titles of the figures, units included."""
    rows: Sequence[Row]

    def figure(self, what: str, name: str) -> float | None:
        """None when it was not measured."""
        return next((each.figures.get(name) for each in self.rows if each.what == what), None)

    def markdown(self) -> str:
        """With its heading."""
        titles = list(self.columns.values())
        head = [f"#### {self.title}", "", f"|  | {' | '.join(titles)} |", f"|---|{'---:|' * len(titles)}"]
        return "\n".join([*head, *(self._line(row) for row in self.rows)]) + "\n"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "columns": dict(self.columns),
            "rows": [{"what": row.what, **_rounded(row.figures)} for row in self.rows],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Table":
        """The inverse of `to_json`. Raises KeyError."""
        rows = [Row(row["what"], {name: row[name] for name in row if name != "what"}) for row in raw["rows"]]
        return cls(raw["name"], raw["title"], raw["columns"], rows)

    def _line(self, row: Row) -> str:
        return f"| {row.what} | {' | '.join(_text(name, row.figures.get(name)) for name in self.columns)} |"


@dataclass(frozen=True, slots=True)
class Bar:
    """What one figure may be at most."""

    table: str
    rows: str
    """How the names of the rows begin that it is about; the worst of them counts."""
    figures: Sequence[str]
    limit: float
    unit: str


BARS: Final = (
    Bar("verdicts", "100 rules", ("known", "first", "many"), 5, "us"),
    Bar("verdicts", "10,000 rules", ("known", "first", "many"), 20, "us"),
    Bar("push", "100 sidecars", ("max",), 1000, "ms"),
    Bar("push", "1,000 simulated sidecars", ("max",), 3000, "ms"),
    Bar("issuance", "10,000 pods wait", ("own",), 30, "s of CPU"),
    Bar("issuance", "10,000 pods", ("peak",), 300, "MiB"),
    Bar("renewals", "their", ("ratio",), 4, "worst to mean"),
)


def judged(tables: Iterable[Table]) -> Table:
    """Every bar with the worst figure that it is about: 1 for held, 0 for missed."""
    by_name = {each.name: each for each in tables}
    rows = []
    for bar in BARS:
        found = [
            value
            for row in (by_name[bar.table].rows if bar.table in by_name else ())
            if row.what.startswith(bar.rows)
            for name in bar.figures
            if (value := row.figures.get(name)) is not None
        ]
        worst = max(found) if found else None
        what = f"{bar.table}, {bar.rows}, {bar.unit}"
        rows.append(Row(what, {"worst": worst, "bar": bar.limit, HELD: worst and float(worst <= bar.limit)}))
    return Table("bars", "Bars", {"worst": "worst", "bar": "at most", HELD: ""}, rows)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all do not exceed; of nothing, ValueError."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def dump(machine: Mapping[str, Any], tables: Iterable[Table]) -> str:
    """A whole run as JSON."""
    return json.dumps({"machine": machine, "tables": [each.to_json() for each in tables]}, indent=1) + "\n"


def _text(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return ("held" if value else "missed") if name == HELD else number(value)


def _rounded(figures: Figures) -> dict[str, float | None]:
    return {name: None if value is None else float(f"{value:.5g}") for name, value in figures.items()}
