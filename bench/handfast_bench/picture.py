"""A report as an SVG of bars, for people who read no tables. Pure, and made from nothing but the report.

It brings its own background, since the page around it may be light where the reader's system is dark.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from handfast_bench.pair import NOT_PEERS, OURS
from handfast_bench.results import Report
from handfast_bench.table import number

_NOT_DRAWN: Final = NOT_PEERS - {OURS}


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of one case, a bar for each proxy."""

    title: str
    case: str
    figure: str
    note: str


PANELS: Final = (
    Panel("Requests/s, 32 connections", "keepalive-32", "requests_per_s", "more is better"),
    Panel("Requests/s, 128 connections", "keepalive-128", "requests_per_s", "more is better"),
    Panel("Requests/s, 1,000 connections", "keepalive-1000", "requests_per_s", "more is better"),
    Panel("CPU per request, 32 connections", "keepalive-32", "cpu_us", "us of both proxies; less is better"),
    Panel("CPU per request, 128 connections", "keepalive-128", "cpu_us", "us of both proxies; less is better"),
    Panel("CPU per request, 1,000 connections", "keepalive-1000", "cpu_us", "us of both proxies; less is better"),
    Panel("New connections/s", "new-connections", "connections_per_s", "more is better"),
    Panel("CPU per new connection", "new-connections", "cpu_us", "us of both proxies; less is better"),
    Panel("CPU per GB, one download", "bulk-1", "cpu_s_per_gb", "seconds of both proxies; less is better"),
)
_COLUMNS: Final = 3
_WIDTH, _GAP, _MARGIN = 300, 24, 20
_LABEL, _VALUE = 72, 54
"""Pixels beside a bar for the proxy's name and for the figure."""
_HEAD, _ROW, _BAR = 46, 22, 14
_STYLE: Final = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 13px } .note { fill: #59636e; font-size: 11px }
  .page { fill: #ffffff } .bar { fill: #afb8c1 } .ours { fill: #0969da } .name { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .note { fill: #9198a1 } .page { fill: #0d1117 } .bar { fill: #545d68 }
    .ours { fill: #4493f8 }
  }
"""


def svg(report: Report) -> str:
    """The whole picture; panels that were not measured are left out."""
    drawn = [each for each in PANELS if _bars(report, each)]
    proxies = max((len(_bars(report, each)) for each in drawn), default=0)
    height = _HEAD + proxies * _ROW + _GAP
    rows = -(-len(drawn) // _COLUMNS)
    width, total = _MARGIN * 2 + _COLUMNS * _WIDTH + (_COLUMNS - 1) * _GAP, _MARGIN * 2 + rows * height + 16
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{total}" viewBox="0 0 {width} {total}">',
        "<title>Handfast beside other proxies: requests, connections and bulk</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{width}" height="{total}" rx="6"/>',
    ]
    for number_, panel in enumerate(drawn):
        row, column = divmod(number_, _COLUMNS)
        lines.append(f'<g transform="translate({_MARGIN + column * (_WIDTH + _GAP)},{_MARGIN + row * height})">')
        lines += _panel(report, panel)
        lines.append("</g>")
    lines.append(f'<text class="note" x="{_MARGIN}" y="{total - _MARGIN}">{escape(_caption(report))}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _panel(report: Report, panel: Panel) -> Iterator[str]:
    bars = _bars(report, panel)
    scale = (_WIDTH - _LABEL - _VALUE) / max(bars.values())
    yield f'<text class="title" y="12">{escape(panel.title)}</text>'
    yield f'<text class="note" y="28">{escape(panel.note)}</text>'
    for row, (proxy, value) in enumerate(bars.items()):
        y = _HEAD + row * _ROW - 6
        ours = proxy == OURS
        length = max(1.0, value * scale)
        yield f'<text x="{_LABEL - 8}" y="{y + 11}" text-anchor="end"{_class("name", ours)}>{escape(proxy)}</text>'
        yield f'<rect class="{"ours" if ours else "bar"}" x="{_LABEL}" y="{y}" width="{length:.1f}" height="{_BAR}"/>'
        yield f'<text x="{_LABEL + length + 6:.1f}" y="{y + 11}"{_class("name", ours)}>{number(value)}</text>'


def _class(name: str, wanted: bool) -> str:
    return f' class="{name}"' if wanted else ""


def _bars(report: Report, panel: Panel) -> dict[str, float]:
    figures = {
        proxy: report.figure(proxy, panel.case, panel.figure)
        for proxy in report.proxies(panel.case)
        if proxy not in _NOT_DRAWN
    }
    return {proxy: value for proxy, value in figures.items() if value}


def _caption(report: Report) -> str:
    machine = report.machine
    place = f"{machine.get('cpu', '')}, {machine.get('cores', '')} cores, Linux {machine.get('kernel', '')}"
    return (
        f"Client-side and server-side proxy, one worker each, mutual TLS 1.3. {place}, {machine.get('date', '')[:10]}."
    )
