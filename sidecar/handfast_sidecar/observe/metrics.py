"""Counters and gauges in Prometheus's text format, small enough for the hot path of a proxy.

The one rule: a labelled value is looked up once, with `labels(...)`, and counted afterwards with one addition. A family
holds a bounded number of label sets; what comes later is folded into one whose values are all "other", so that nothing
a peer sends can grow the memory.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MAX_SERIES: Final = 1000
"""Label sets per family."""
OVERFLOW: Final = "other"
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class CounterValue:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def inc(self, amount: float = 1) -> None:
        self.value += amount

    def read(self) -> float:
        return self.value


class GaugeValue:
    """A number that goes up and down, or is asked for when somebody scrapes."""

    __slots__ = ("source", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self.source: Callable[[], float] | None = None

    def set(self, value: float) -> None:
        self.value = value

    def inc(self, amount: float = 1) -> None:
        self.value += amount

    def dec(self, amount: float = 1) -> None:
        self.value -= amount

    def set_function(self, source: Callable[[], float]) -> None:
        """Ask `source` at each scrape instead of keeping a number."""
        self.source = source

    def read(self) -> float:
        return self.source() if self.source is not None else self.value


V = TypeVar("V", CounterValue, GaugeValue)


class Family(Generic[V]):
    """All values of one metric name."""

    def __init__(self, kind: str, name: str, text: str, labels: tuple[str, ...], make: Callable[[], V]) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no metric name")
        for label in labels:
            if not _LABEL.fullmatch(label):
                raise ValueError(f"{label!r} is no label name (of {name})")
        self.kind = kind
        self.name = name
        self.help = text
        self.label_names = labels
        self._make: Callable[[], V] = make
        self._values: dict[tuple[str, ...], V] = {}
        if not labels:
            self._values[()] = make()

    def labels(self, *values: str) -> V:
        """The value under these labels, in the order they were declared; keep it where it is counted often."""
        found = self._values.get(values)
        if found is not None:
            return found
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has the labels {self.label_names}, got {len(values)} values")
        if len(self._values) >= MAX_SERIES:
            values = (OVERFLOW,) * len(values)
        return self._values.setdefault(values, self._make())

    def remove(self, *values: str) -> None:
        """Forget the value under these labels; unknown ones are no error."""
        self._values.pop(values, None)

    def clear(self) -> None:
        """Forget every labelled value: for gauges that are recomputed as a whole."""
        if self.label_names:
            self._values.clear()

    def render(self) -> str:
        """The family in the text format."""
        lines = [f"# HELP {self.name} {_escape_help(self.help)}", f"# TYPE {self.name} {self.kind}"]
        for values, value in sorted(self._values.items()):
            pairs = zip(self.label_names, values, strict=True)
            labels = ",".join(f'{name}="{_escape_label(text)}"' for name, text in pairs)
            lines.append(
                f"{self.name}{{{labels}}} {_number(value.read())}" if labels else f"{self.name} {_number(value.read())}"
            )
        return "\n".join(lines) + "\n"


class Counter(Family[CounterValue]):
    """A family of counters; without labels it is its own only value."""

    def inc(self, amount: float = 1) -> None:
        self.labels().inc(amount)


class Gauge(Family[GaugeValue]):
    """A family of gauges; without labels it is its own only value."""

    def set(self, value: float) -> None:
        self.labels().set(value)

    def inc(self, amount: float = 1) -> None:
        self.labels().inc(amount)

    def dec(self, amount: float = 1) -> None:
        self.labels().dec(amount)

    def set_function(self, source: Callable[[], float]) -> None:
        """Ask `source` at each scrape instead of keeping a number."""
        self.labels().set_function(source)


class Registry:
    """All metrics of a process."""

    def __init__(self) -> None:
        self._families: dict[str, Counter | Gauge] = {}

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """The counter of this name; asking twice gives the same one, a different declaration raises ValueError."""
        return self._add(Counter("counter", name, text, tuple(labels), CounterValue), Counter)

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        """The gauge of this name; asking twice gives the same one, a different declaration raises ValueError."""
        return self._add(Gauge("gauge", name, text, tuple(labels), GaugeValue), Gauge)

    def render(self) -> str:
        """Everything, in the text format, sorted by name."""
        return "".join(self._families[name].render() for name in sorted(self._families))

    def _add(self, family: "F", kind: "type[F]") -> "F":
        known = self._families.setdefault(family.name, family)
        if not isinstance(known, kind) or known.label_names != family.label_names:
            raise ValueError(f"the metric {family.name} is already declared as a {known.kind} of {known.label_names}")
        return known


F = TypeVar("F", Counter, Gauge)


def _escape_help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape_label(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    """Whole numbers without a fraction: a counter of bytes must not lose digits to an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))
