"""Transcripts in docs: the commands that a page shows, and whether a run prints what the page says.

A block ```console has commands behind `$ `, with here-documents as a shell has them, and what they print. In that,
`...` stands for any text within a line, and a line that is `...` alone for any number of lines. What is another in each
run is the same here, so that a page can show it: times and ages, addresses, generated names, how many connections
there were, and how large a bundle is. Runs of spaces are one space, because tables grow with what is in them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ANYTHING = "..."
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DIFFERENT = [
    (re.compile(pattern), "<>")
    for pattern in (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
        r"\b\d\d:\d\d:\d\d\b",
        r"\b\d{8}T\d{6}Z\b",
        r"\b[0-9a-f]{12}\b",
        r"\b\d+\.\d+\.\d+\.\d+\b",
        r"(?<=-)[0-9a-f]{10}(-[a-z0-9]{5})?\b",
        r"\b\d+ connections, \d+ open",
        r"(?<=yes )\d+ \d+ \d+\.\d/s|(?<=no )\d+ \d+ \d+\.\d/s",
        r"\b\d+[smhd](\d+[smhd])?\b",
        r"(?<=denied )\d+",
        r"(?<=plaintext_refused )\d+",
        r"\b\d+ files, \d+ KiB",
    )
]
"""What is another in each run; tables have one space between their columns by then."""
_HERE = re.compile(r"\s<<'?([A-Z]+)'?$")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page."""

    line: int
    """In the page, from 1."""
    words: str
    given: str
    """What is typed into it."""
    expected: tuple[str, ...]


def commands(page: str) -> list[Command]:
    """All commands of a page, in their order."""
    found: list[Command] = []
    for block in _BLOCK.finditer(page):
        first = page.count("\n", 0, block.start(1)) + 1
        found += _commands(block[1].splitlines(), first)
    return found


def _commands(lines: Sequence[str], first: int) -> Iterator[Command]:
    at = 0
    while at < len(lines):
        start = at
        if not lines[at].startswith("$ "):
            raise ValueError(f"line {first + at}: a block begins with a command")
        words = lines[at][2:]
        given: Sequence[str] = ()
        at += 1
        if here := _HERE.search(words):
            words = words[: here.start()]
            end = lines.index(here[1], at)
            given = lines[at:end]
            at = end + 1
        output = at
        while at < len(lines) and not lines[at].startswith("$ "):
            at += 1
        yield Command(first + start, words, "".join(f"{each}\n" for each in given), tuple(lines[output:at]))


def difference(expected: Sequence[str], printed: str) -> str:
    """What is not as the page says; empty: all is."""
    lines = [_plain(line) for line in printed.rstrip("\n").splitlines()]
    wanted = [_plain(line) for line in expected]
    while wanted and not wanted[-1]:
        wanted.pop()  # a blank line between commands is for the reader
    if re.fullmatch("".join(map(_pattern, wanted)), "".join(f"{line}\n" for line in lines)):
        return ""
    return "the page says:\n" + "\n".join(expected) + "\n\nit printed:\n" + printed


def _plain(line: str) -> str:
    line = re.sub(r"\s+", " ", line).strip()
    for pattern, instead in _DIFFERENT:
        line = pattern.sub(instead, line)
    return line


def _pattern(line: str) -> str:
    if line == ANYTHING:
        return r"(?:.*\n)*?"
    return ".*?".join(map(re.escape, line.split(ANYTHING))) + r"\n"
