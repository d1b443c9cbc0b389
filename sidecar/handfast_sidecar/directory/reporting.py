"""A sidecar's reports on all its streams: numbered, cut into lines, and none of them counted twice. Pure.

Counts are cumulative, and each replica of the directory adds up what they grew by. One that has not heard of us does
not know where to begin, so a new stream begins with what was told last, marked as repeated. The one rule: a report is
told as soon as it is handed to a stream; when that breaks with it, its counts are missing, and never there twice.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace

from handfast_sidecar.directory.codec import encode
from handfast_sidecar.directory.messages import MAX_SIDECAR_LINE, Report


class Reporting:
    """What was told, and what is told next."""

    def __init__(self, report: Callable[[], Report]) -> None:
        """`report` says what is true now."""
        self._report = report
        self._run = secrets.token_hex(8)
        self._told: Report | None = None

    def begin(self) -> Iterator[Report]:
        """The lines that a new stream begins with: what was told on earlier ones."""
        if self._told is not None:
            yield from lines(replace(self._told, repeated=True))

    def next(self) -> Iterator[Report]:
        """The lines of the next report."""
        number = self._told.number + 1 if self._told is not None else 1
        self._told = replace(self._report(), run=self._run, number=number)
        yield from lines(self._told)


def lines(report: Report) -> Iterator[Report]:
    """The report, in parts whose lines the directory reads."""
    if len(encode(report)) <= MAX_SIDECAR_LINE:
        yield report
    elif len(report.edges) > 1:
        half = len(report.edges) // 2
        yield from lines(replace(report, edges=report.edges[:half]))
        yield from lines(replace(report, edges=report.edges[half:]))
