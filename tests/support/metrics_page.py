"""docs/metrics.md, made from the tables that the programs themselves declare their metrics with.

`make metrics-page` writes it; a test compares.
"""

from pathlib import Path
from typing import Final

from handfast_operator.metrics import PROGRAMS
from handfast_sidecar import wellknown
from handfast_sidecar.observe.declared import Declared, Label

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "metrics.md"
_PORTS: Final = {
    "sidecar": wellknown.ADMIN_PORT,
    "controller": wellknown.CONTROLLER_HEALTH_PORT,
    "webhook": wellknown.WEBHOOK_HEALTH_PORT,
    "directory": wellknown.DIRECTORY_HEALTH_PORT,
}
_HEADINGS: Final = {
    "sidecar": "A sidecar",
    "controller": "The controller",
    "webhook": "The webhook",
    "directory": "The directory",
}
_HEAD: Final = """\
# Metrics

<!-- Made from the code by `make metrics-page`: change the tables there. -->

Every program serves `/metrics` in Prometheus's text format; [monitoring](monitoring.md) says how it is scraped, and
which alerts and which dashboard come with the chart. A label never grows with the number of pods, Services or peers,
and a family has 1,000 label sets at most: whatever comes after them counts under the value `other`. Counters whose
labels have few and known values are served as 0 from the start. A name here is a promise: a change of one stands in the
changelog.

`handfast_build_info` is 1 for each program, so that others can be joined with it:
`process_resident_memory_bytes and on (job, instance) handfast_build_info{component="sidecar"}`.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for program in _PORTS:
        parts.append(f"\n## {_HEADINGS[program]}\n\nPort {_PORTS[program]}.\n")
        parts.append("\n| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n")
        parts.extend(_row(metric) for metric in PROGRAMS[program])
    return "".join(parts)


def _row(metric: Declared) -> str:
    labels = "; ".join(map(_label, metric.labels))
    meaning = " ".join(filter(None, (metric.help, metric.note)))
    return f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {meaning} |\n"


def _label(label: Label) -> str:
    values = ", ".join(f"`{value}`" if value else "(empty)" for value in label.values)
    return f"**{label.name}**: {': '.join(filter(None, (values, label.meaning)))}"


if __name__ == "__main__":
    PAGE.write_text(page())
