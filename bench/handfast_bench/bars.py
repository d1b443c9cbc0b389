"""The bars of DESIGN, "Budgets": what handfast has to reach beside haproxy of the same run. Pure."""

from dataclasses import dataclass
from typing import Final

from handfast_bench.pair import OURS, SOCKETS, YARDSTICK
from handfast_bench.results import Report

_KB_PER_MB: Final = 1024


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure's limit: a ratio to haproxy, or a number of its own."""

    what: str
    case: str
    figure: str
    limit: float
    at_least: bool = False
    unit: str = ""
    """Of an absolute limit; a ratio has none."""
    per_unit: float = 1
    """What one unit is, in the figure's own."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a bar; value and held are None when something was not measured."""

    bar: Bar
    value: float | None
    held: bool | None
    sockets: float | None = None
    """The same ratio of one relay without TLS: what no proxy can get below, where it is measured."""


BARS: Final = (
    Bar("requests/s, 32 connections", "keepalive-32", "requests_per_s", 1.3, at_least=True),
    Bar("requests/s, 128 connections", "keepalive-128", "requests_per_s", 1.5, at_least=True),
    Bar("requests/s, 1,000 connections", "keepalive-1000", "requests_per_s", 1.9, at_least=True),
    Bar("CPU per request, 32 connections", "keepalive-32", "cpu_us", 0.75),
    Bar("CPU per request, 128 connections", "keepalive-128", "cpu_us", 0.6),
    Bar("CPU per request, 1,000 connections", "keepalive-1000", "cpu_us", 0.45),
    Bar("new connections/s", "new-connections", "connections_per_s", 7.5, at_least=True),
    Bar("CPU per new connection", "new-connections", "cpu_us", 0.09),
    Bar("CPU per GB, one stream", "bulk-1", "cpu_s_per_gb", 0.85),
    Bar("CPU per GB, 8 streams", "bulk-8", "cpu_s_per_gb", 0.85),
    Bar("p50 latency, one connection", "keepalive-1", "p50_us", 1.1),
    Bar("RSS before any connection", "idle", "rss_kb", 40, unit="MB", per_unit=_KB_PER_MB),
    Bar("private memory before any connection", "idle", "private_kb", 20, unit="MB", per_unit=_KB_PER_MB),
    Bar("memory per idle connection", "idle", "kb_per_idle_connection", 8, unit="KB"),
)


def judge(report: Report) -> list[Verdict]:
    """Every bar, in order."""
    return [_judge(bar, report) for bar in BARS]


def _judge(bar: Bar, report: Report) -> Verdict:
    ours = report.figure(OURS, bar.case, bar.figure)
    scale = bar.per_unit if bar.unit else report.figure(YARDSTICK, bar.case, bar.figure)
    if ours is None or not scale:
        return Verdict(bar, None, None)
    value = ours / scale
    sockets = report.figure(SOCKETS, bar.case, bar.figure)
    return Verdict(
        bar,
        value,
        value >= bar.limit if bar.at_least else value <= bar.limit,
        None if sockets is None else sockets / scale,
    )
