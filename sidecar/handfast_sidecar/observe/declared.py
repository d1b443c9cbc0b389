"""A metric as it is promised: declared once, in a program's one table, and documented from there.

The one rule: a label's values never grow with the number of pods, Services or peers. A counter whose labels have few
and known values is served as 0 from the start: what appears with its first event cannot be told from no event at all.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Final

from handfast_sidecar.observe.metrics import Counter, Gauge, Histogram, Registry

MAX_FROM_THE_START: Final = 16
"""Label sets that are served as 0 before anything has happened."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label, and what it may say."""

    name: str
    values: tuple[str, ...] = ()
    """All of them; empty: more than fit into a table, and `meaning` says where they are listed."""
    meaning: str = ""
    """In Markdown, from docs/."""


@dataclass(frozen=True, slots=True)
class Declared:
    """Name, help, labels and a remark of one metric."""

    name: str
    help: str
    """Served with it, and so plain text."""
    labels: tuple[Label, ...] = ()
    note: str = ""
    """What the help does not say, in Markdown, from docs/."""

    @property
    def kind(self) -> str:
        """In Prometheus's words."""
        raise NotImplementedError

    @property
    def unit(self) -> str:
        """Of a value, by the name's ending (prometheus.io/docs/practices/naming)."""
        base = self.name.removesuffix("_total")
        units = {
            "_timestamp_seconds": "Unix time, seconds",
            "_start_time_seconds": "Unix time, seconds",
            "_seconds": "seconds",
            "_bytes": "bytes",
        }
        return next((unit for ending, unit in units.items() if base.endswith(ending)), "")

    @property
    def label_names(self) -> tuple[str, ...]:
        """In the order of `Family.labels`."""
        return tuple(label.name for label in self.labels)


class CounterMetric(Declared):
    """Only grows."""

    __slots__ = ()

    @property
    def kind(self) -> str:
        """In Prometheus's words."""
        return "counter"

    def of(self, registry: Registry) -> Counter:
        """The counter of this name there."""
        counter = registry.counter(self.name, self.help, self.label_names)
        if self.labels and 0 < math.prod(len(label.values) for label in self.labels) <= MAX_FROM_THE_START:
            for values in itertools.product(*(label.values for label in self.labels)):
                counter.labels(*values)
        return counter


class GaugeMetric(Declared):
    """Goes up and down."""

    __slots__ = ()

    @property
    def kind(self) -> str:
        """In Prometheus's words."""
        return "gauge"

    def of(self, registry: Registry) -> Gauge:
        """The gauge of this name there."""
        return registry.gauge(self.name, self.help, self.label_names)


@dataclass(frozen=True, slots=True)
class HistogramMetric(Declared):
    """Counts what took how long."""

    bounds: tuple[float, ...] = ()
    """Of the buckets, ascending, without the infinite one."""

    @property
    def kind(self) -> str:
        """In Prometheus's words."""
        return "histogram"

    def of(self, registry: Registry) -> Histogram:
        """The histogram of this name there."""
        return registry.histogram(self.name, self.help, self.label_names, self.bounds)
