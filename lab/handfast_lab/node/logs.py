"""What containers write, one file for each run: every line begins with its time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_CHUNK: Final = 64 * 1024
_LONGEST: Final = 16 * 1024
"""Bytes of a line, after which it is broken as containerd does."""


class Log:
    """The output of one run."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._path = path
        self._ended = False
        self._grown = asyncio.Event()

    async def take(self, output: asyncio.StreamReader) -> None:
        """Write what comes, to its end."""
        rest = b""
        with self._path.open("ab", buffering=0) as file:
            while chunk := await output.read(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _LONGEST:
                    lines, rest = [*lines, rest], b""
                if lines:
                    file.write(b"".join(map(_stamped, lines)))
                    self._wake()
            if rest:
                file.write(_stamped(rest))
        self._ended = True
        self._wake()

    async def lines(self, *, follow: bool, tail: int | None, timestamps: bool) -> AsyncIterator[bytes]:
        """What there is, from the last `tail` lines on, and what comes."""
        with self._path.open("rb") as file:
            found = file.readlines()
            for line in found if tail is None else found[max(0, len(found) - tail) :]:
                yield line if timestamps else _bare(line)
            while follow:
                grown, ended = self._grown, self._ended
                for line in file:
                    yield line if timestamps else _bare(line)
                if ended:
                    return
                await grown.wait()

    def last_words(self) -> str:
        """For a container's termination message: at most 80 lines and 2048 bytes, as kubelet's limits are."""
        return b"".join(map(_bare, self._path.read_bytes().splitlines(keepends=True)[-80:]))[-2048:].decode(
            errors="replace"
        )

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def _stamped(line: bytes) -> bytes:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ ").encode() + line + b"\n"


def _bare(line: bytes) -> bytes:
    return line.partition(b" ")[2]
