"""Processes of the bench's own, each with a log: they end with the block that started them."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from handfast_bench.namespaces import BenchFailed

ANSWER_S: Final = 30.0
READY_S: Final = 120.0
END_S: Final = 20.0
"""Seconds that a process may take to end when it is asked to."""


async def said(process: asyncio.subprocess.Process, line: str = "", *, expected: str = "") -> str:
    """The next line of a process, after one that it is told. Raises BenchFailed."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("it has no pipes")
    process.stdin.write(line.encode())
    try:
        async with asyncio.timeout(ANSWER_S if expected != "ready" else READY_S):
            told = (await process.stdout.readline()).decode().strip()
    except TimeoutError:
        told = "nothing"
    if not told or told == "nothing" or (expected and told != expected):
        raise BenchFailed(f"expected {expected or 'the moments'}, a process said {told or 'its last word'}")
    return told


@asynccontextmanager
async def python(
    name: str, folder: Path, module: str, *words: Path | str, ready: str = "ready", **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A module of ours that prints `ready`, or is asked elsewhere."""
    command = [sys.executable, "-m", module, *map(str, words)]
    async with program(name, folder, command, pipes=bool(ready), **environment) as process:
        if ready:
            await said(process, expected=ready)
        yield process


@asynccontextmanager
async def program(
    name: str, folder: Path, command: Sequence[str], *, pipes: bool = False, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Any program; what it prints is in NAME.log of the folder, its standard output only without pipes."""
    with (folder / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if pipes else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if pipes else log,
            stderr=log,
            env={**os.environ, **environment},
            limit=1 << 20,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_S)
        except TimeoutError:
            process.kill()
            await process.wait()
