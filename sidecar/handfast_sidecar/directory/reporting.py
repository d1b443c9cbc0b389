"""A sidecar's reports on all its streams: numbered, cut into lines, and none of them counted twice. Pure.

Counts are cumulative, and each replica of the directory adds up what they grew by. One that has not heard of us does
not know where to begin, so a new stream begins with what was told last, marked as repeated. The one rule: a report is
told as soon as it is handed to a stream; when that breaks with it, its counts are missing, and never there twice.

An edge that was told of and is forgotten must not be compared with what comes back under its name, so with it a run
ends: the next one begins with what is left, as repeated.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace

from handfast_sidecar.directory.codec import encode
from handfast_sidecar.directory.messages import MAX_SIDECAR_LINE, Report


class Reporting:
    """What was told, and what is told next."""

    def __init__(self, report: Callable[[], Report], make_room: Callable[[], bool] = lambda: False) -> None:
        """`report` says what is true now; `make_room` forgets edges, which were in it, or says that it forgot none."""
        self._report = report
        self._make_room = make_room
        self._run = _new_run()
        self._told: Report | None = None

    def begin(self) -> Iterator[Report]:
        """The lines that a new stream begins with: what was told on earlier ones."""
        if self._told is not None:
            yield from lines(replace(self._told, repeated=True))

    def next(self) -> Iterator[Report]:
        """The lines of the next report."""
        number = self._told.number + 1 if self._told is not None else 1
        told = self._told = replace(self._report(), run=self._run, number=number)
        left = None
        if self._make_room():
            self._run = _new_run()
            left = self._told = replace(self._report(), run=self._run, number=1)
        yield from lines(told)
        if left is not None:
            yield from lines(replace(left, repeated=True))


def _new_run() -> str:
    return secrets.token_hex(8)


def lines(report: Report) -> Iterator[Report]:
    """The report, in parts whose lines the directory reads."""
    if len(encode(report)) <= MAX_SIDECAR_LINE:
        yield report
    elif len(report.edges) > 1:
        half = len(report.edges) // 2
        yield from lines(replace(report, edges=report.edges[:half]))
        yield from lines(replace(report, edges=report.edges[half:]))
