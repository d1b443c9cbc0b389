"""A report as Markdown: a table for each case, and one of the bars. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from handfast_bench.bars import Verdict, judge
from handfast_bench.pair import DIRECT, NOT_PEERS, OURS, SOCKETS, YARDSTICK
from handfast_bench.results import ERRORS, Report, Result


@dataclass(frozen=True, slots=True)
class Column:
    """How a figure is written."""

    title: str
    more_is_better: bool = False


COLUMNS: Final = {
    "requests_per_s": Column("requests/s", more_is_better=True),
    "connections_per_s": Column("new connections/s", more_is_better=True),
    "mb_per_s": Column("MB/s", more_is_better=True),
    "cpu_us": Column("CPU, both proxies, us"),
    "cpu_s_per_gb": Column("CPU, both proxies, s/GB"),
    "p50_us": Column("p50, us"),
    "p99_us": Column("p99, us"),
    "p999_us": Column("p99.9, us"),
    "rss_kb": Column("RSS, KB"),
    "pss_kb": Column("PSS, KB"),
    "private_kb": Column("private, KB"),
    "kb_per_idle_connection": Column("per idle connection, KB"),
    "kb_per_idle_connection_1000": Column("per connection at 1,000, KB"),
}
HEADINGS: Final = {
    "first-byte": "A new connection, to the first byte of its answer",
    "keepalive-1": "Requests on one connection",
    "keepalive-32": "Requests on 32 connections",
    "keepalive-128": "Requests on 128 connections",
    "keepalive-1000": "Requests on 1,000 connections",
    "new-connections": "A connection for each request, 32 at a time",
    "bulk-1": "One big download",
    "bulk-8": "Eight big downloads at once",
    "small-beside-bulk": "Requests on one connection, beside one big download",
    "idle": "Memory of the client-side proxy",
}
_OWN: Final = "first-byte-"


def number(value: float) -> str:
    """Three significant digits, but never fewer than the whole part has."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def best_peer(report: Report, case: str, figure: str) -> float | None:
    """The best figure that any peer has in a case."""
    peers = (report.figure(each, case, figure) for each in report.proxies(case) if each not in NOT_PEERS)
    values = [each for each in peers if each is not None]
    if not values:
        return None
    return max(values) if COLUMNS[figure].more_is_better else min(values)


def markdown(report: Report) -> str:
    """All of it; the bars only where we and the yardstick were measured."""
    bars = _bars(judge(report)) if {OURS, YARDSTICK} <= {each.proxy for each in report.results} else ()
    return "\n".join([*_head(report), *_cases(report), *bars])


def _head(report: Report) -> Iterator[str]:
    machine = report.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine.get("versions", {}).items())
    handfast = ", ".join(f"{name} {value}" for name, value in machine.get("handfast", {}).items())
    yield f"{machine.get('cpu', '')}, {machine.get('cores', '')} cores, Linux {machine.get('kernel', '')},"
    yield f"{machine.get('system', '')}, {machine.get('date', '')}. {versions}. handfast: {handfast}."
    yield ""
    yield "In brackets: the ratio to haproxy; for handfast also to the best of the peers."
    yield ""
    yield from (f"- {note}" for note in machine.get("notes", ()))
    yield ""


def _cases(report: Report) -> Iterator[str]:
    for case, heading in HEADINGS.items():
        rows = [each for each in report.results if each.case == case]
        if case == "first-byte":
            rows += [each for each in report.results if each.case.startswith(_OWN)]
        if not rows:
            continue
        columns = [each for each in COLUMNS if any(each in row.figures for row in rows)]
        yield f"### {heading}\n"
        yield from _table(
            ["", *(COLUMNS[each].title for each in columns)], (_row(report, each, columns) for each in rows)
        )


def _row(report: Report, result: Result, columns: Sequence[str]) -> list[str]:
    name = result.proxy if not result.case.startswith(_OWN) else f"{result.proxy}, {result.case.removeprefix(_OWN)}"
    if result.failed:
        return [name, result.failed.splitlines()[0], *("" for _ in columns[1:])]
    cells = [_cell(report, result, each) for each in columns]
    if errors := result.figures.get(ERRORS):
        cells[0] += f" with {errors:.0f} errors"
    return [f"**{name}**" if result.proxy == OURS else name, *cells]


def _cell(report: Report, result: Result, figure: str) -> str:
    value = result.figures.get(figure)
    if value is None or (result.proxy == DIRECT and figure.startswith("cpu")):
        return "-"
    case = "first-byte" if result.case.startswith(_OWN) else result.case
    ratios = [_ratio(value, report.figure(YARDSTICK, case, figure))] if result.proxy != YARDSTICK else []
    if result.proxy == OURS:
        ratios.append(_ratio(value, best_peer(report, case, figure)))
    known = [each for each in ratios if each]
    return number(value) + (f" ({'; '.join(known)})" if known else "")


def _ratio(value: float, base: float | None) -> str:
    return f"{value / base:.2f}" if base else ""


def _bars(verdicts: Sequence[Verdict]) -> Iterator[str]:
    words = {None: "not measured", True: "held", False: "missed"}
    rows = []
    for each in verdicts:
        unit = f" {each.bar.unit}" if each.bar.unit else " x haproxy"
        limit = f"{'at least' if each.bar.at_least else 'at most'} {each.bar.limit:g}{unit}"
        rows.append([each.bar.what, _short(each.value), limit, words[each.held], _short(each.sockets)])
    yield "### Bars\n"
    yield from _table(["", "handfast", "bar", "", SOCKETS], iter(rows))


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _table(head: Sequence[str], rows: Iterator[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
