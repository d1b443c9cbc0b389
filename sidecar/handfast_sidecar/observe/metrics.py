"""Counters and gauges in Prometheus's text format, small enough for the hot path of a proxy.

The one rule: a labelled value is looked up once, with `labels(...)`, and counted afterwards with one addition. A family
holds a bounded number of label sets; what comes later is folded into one whose values are all "other", so that nothing
a peer sends can grow the memory.
"""

import itertools
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
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


class AskedCounterValue(CounterValue):
    """One that somebody else counts, and that is asked for at each scrape."""

    __slots__ = ("source",)

    def __init__(self, source: Callable[[], float]) -> None:
        super().__init__()
        self.source = source

    def read(self) -> float:
        return self.source()


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


class HistogramValue:
    """How many took how long."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of each bucket alone; the last one is the infinite one."""
        self.sum: float = 0

    def observe(self, amount: float) -> None:
        self.counts[bisect_left(self.bounds, amount)] += 1
        self.sum += amount


V = TypeVar("V", CounterValue, GaugeValue, HistogramValue)


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
        head = f"# HELP {self.name} {_escape_help(self.help)}\n# TYPE {self.name} {self.kind}\n"
        return head + "".join(self._render(values) for values in sorted(self._values))

    def _render(self, values: tuple[str, ...]) -> str:
        """The lines of one value."""
        pairs = zip(self.label_names, values, strict=True)
        labels = [f'{name}="{_escape_label(text)}"' for name, text in pairs]
        return "".join(
            _line(self.name + end, labels + le, number) for end, le, number in _samples(self._values[values])
        )


class Counter(Family[CounterValue]):
    """A family of counters; without labels it is its own only value."""

    def inc(self, amount: float = 1) -> None:
        self.labels().inc(amount)

    def set_function(self, source: Callable[[], float]) -> None:
        """Ask `source` at each scrape, which counts already."""
        self._values[()] = AskedCounterValue(source)


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


class Histogram(Family[HistogramValue]):
    """A family of histograms; without labels it is its own only value."""

    def observe(self, amount: float) -> None:
        self.labels().observe(amount)


class Registry:
    """All metrics of a process."""

    def __init__(self) -> None:
        self._families: dict[str, Counter | Gauge | Histogram] = {}

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """The counter of this name; asking twice gives the same one, a different declaration raises ValueError."""
        return self._add(Counter("counter", name, text, tuple(labels), CounterValue), Counter)

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        """The gauge of this name; asking twice gives the same one, a different declaration raises ValueError."""
        return self._add(Gauge("gauge", name, text, tuple(labels), GaugeValue), Gauge)

    def histogram(self, name: str, text: str, labels: Sequence[str], bounds: tuple[float, ...]) -> Histogram:
        """The histogram of this name; `bounds` ascend, and the infinite bucket is not among them."""
        family = Histogram("histogram", name, text, tuple(labels), lambda: HistogramValue(bounds))
        return self._add(family, Histogram)

    def render(self) -> str:
        """Everything, in the text format, sorted by name."""
        return "".join(self._families[name].render() for name in sorted(self._families))

    def _add(self, family: "F", kind: "type[F]") -> "F":
        known = self._families.setdefault(family.name, family)
        if not isinstance(known, kind) or known.label_names != family.label_names:
            raise ValueError(f"the metric {family.name} is already declared as a {known.kind} of {known.label_names}")
        return known


F = TypeVar("F", Counter, Gauge, Histogram)


def _line(name: str, labels: Sequence[str], number: float) -> str:
    return f"{name}{{{','.join(labels)}}} {_number(number)}\n" if labels else f"{name} {_number(number)}\n"


Samples = Iterator[tuple[str, list[str], float]]


def _samples(value: CounterValue | GaugeValue | HistogramValue) -> Samples:
    """Each line of a value: the ending of its name, labels of its own, the number."""
    if not isinstance(value, HistogramValue):
        yield "", [], value.read()
        return
    for bound, below in zip((*value.bounds, math.inf), itertools.accumulate(value.counts), strict=True):
        yield "_bucket", [f'le="{_number(bound)}"'], below
    yield "_sum", [], value.sum
    yield "_count", [], sum(value.counts)


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
