"""How the demo talks: a step's title and reason, the command a person would type, and what came back.

Colours are for terminals alone; a file gets the same words.
"""

import os
import sys
import textwrap
from collections.abc import Mapping
from typing import Final, TextIO

WIDTH: Final = 100
MOST_LINES: Final = 12
"""Of one command's output; the demo says how many it left out."""
_BOLD, _DIM, _GREEN, _RED, _CYAN, _PLAIN = "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[36m", "\033[0m"


class Teller:
    """Writes to a terminal or a file."""

    def __init__(self, out: TextIO = sys.stdout, environment: Mapping[str, str] = os.environ) -> None:
        self._out = out
        # https://no-color.org
        self._colours = out.isatty() and "NO_COLOR" not in environment and environment.get("TERM") != "dumb"
        self._pending = False

    def title(self, number: int, of: int, title: str, why: str) -> None:
        """A step begins."""
        self._line("")
        self._line(self._in(_BOLD, f"{number}/{of}  {title}"))
        for line in textwrap.wrap(why, WIDTH - 5):
            self._line(f"     {line}")

    def command(self, words: str, given: str = "") -> None:
        """What a person would type, and what he would type into it."""
        self._line("")
        self._line(self._in(_CYAN, f"     $ {words}{' <<EOF' if given else ''}"))
        for line in (*given.splitlines(), "EOF") if given else ():
            self._line(self._in(_CYAN, f"       {line}"))

    def output(self, text: str) -> None:
        """What came back."""
        lines = text.rstrip("\n").splitlines()
        for line in lines[:MOST_LINES]:
            self._line(f"       {line}")
        if len(lines) > MOST_LINES:
            self._line(self._in(_DIM, f"       ({len(lines) - MOST_LINES} more lines)"))

    def seen(self, text: str) -> None:
        """What the step shows, and was checked."""
        self._line(self._in(_GREEN, f"     ✓ {text}"))

    def failed(self, text: str) -> None:
        """What did not hold."""
        self._line(self._in(_RED, f"     ✗ {text}"))

    def say(self, text: str) -> None:
        """A line of its own."""
        self._line(text)

    def progress(self, text: str) -> None:
        """What is being done; on a terminal the next line takes its place."""
        if self._colours:
            self._out.write(f"\r\033[K{_DIM}     … {text}{_PLAIN}")
            self._out.flush()
            self._pending = True
        else:
            self._line(f"     … {text}")

    def _line(self, text: str) -> None:
        if self._pending:
            self._out.write("\r\033[K")
            self._pending = False
        self._out.write(text + "\n")
        self._out.flush()

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colours else text
