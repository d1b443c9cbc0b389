"""What verbs print: tables in kubectl's manner for people, JSON and YAML for programs.

The one rule: programs get all that people get, as data, and nothing else on standard output.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

FORMATS: Final = ("table", "wide", "json", "yaml")
_GAP: Final = 3
"""Spaces between columns, as kubectl has it."""


def show(args: argparse.Namespace, document: Any, text: Callable[[], str]) -> None:
    """Print the document as JSON or YAML, where that is asked for, else the text that people read."""
    if args.output == "json":
        say(json.dumps(document, indent=2, ensure_ascii=False))
    elif args.output == "yaml":
        import yaml  # noqa: PLC0415 - where it is asked for

        sys.stdout.write(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    else:
        say(text())


def say(text: str) -> None:
    """Lines on standard output."""
    sys.stdout.write(f"{text}\n")


def warn(text: str) -> None:
    """A line on standard error: what the reader should know of the answer, beside it."""
    sys.stderr.write(f"{text}\n")


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell, the last one as it is."""
    lines = [list(headers), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join(
        "".join(cell.ljust(width + _GAP) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def ago(seconds: float) -> str:
    """A time span as kubectl writes ages: `7s`, `3m`, `5h`, `2d`."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"
