"""Whole lines to one stream, those of one turn of the loop in one system call.

A connection's line is part of the data path: a call of the kernel for each would cost as much as reading a request.
What ends the turn is the loop's next iteration, so a line is never held longer than the work it was written beside.
"""

import asyncio
import sys
from typing import TextIO


class LineWriter:
    """Writes to `stream`, or to whatever standard error is at the time."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def redirect(self, stream: TextIO | None) -> None:
        """Write to another stream from here on."""
        self.flush()
        self._stream = stream

    def put(self, line: str) -> None:
        """Write a line, without its newline, at the end of this turn; at once where no loop runs."""
        self._lines.append(line)
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

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
