"""Whole lines to one stream, those of one turn of the loop in one system call.

A connection's line is part of the data path: a call of the kernel for each would cost as much as reading a request.
A line is never held longer than the work it was written beside.
"""

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable


class LineWriter:
    """Writes to `stream`, or to whatever standard error is at the time."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self.at_end: Callable[[Callable[[], None]], None] | None = None
        """What calls at the end of a turn of the loop; None where no loop runs."""

    def redirect(self, stream: TextIO | None) -> None:
        """Write to another stream from here on."""
        self.flush()
        self._stream = stream

    def put(self, line: str) -> None:
        """Write a line, without its newline, at the end of this turn; at once where no loop runs."""
        self._lines.append(line)
        if self.at_end is None:
            self.flush()
        elif len(self._lines) == 1:
            self.at_end(self.flush)

    def write(self, line: str) -> None:
        """Write a line now, after those that wait."""
        self._lines.append(line)
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._lines:
            lines, self._lines = self._lines, []
            stream = self._stream or sys.stderr
            stream.write("\n".join(lines) + "\n")
            stream.flush()
