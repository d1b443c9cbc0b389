"""How a command in a container is ended, by whoever has asked for it."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 2.0
"""Seconds until the process itself is killed, which ends by itself when what it waits for has ended."""


async def put_down(process: Process) -> None:
    """End a command, with all that it has started, if it still runs.

    What runs in the container is the child of an nsenter(1) outside, and goes first: a child that nobody has waited for
    would stay in the container's PID namespace, whose first process can then never end (pid_namespaces(7)).
    """
    if process.returncode is not None:
        return
    children = _children(process.pid)
    for child in children:
        _kill(child)
    if children:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await process.wait()
    if process.returncode is None:
        _kill(process.pid)
        await process.wait()


def _children(pid: int) -> list[int]:
    """Of its only thread (proc_pid_task(5))."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _kill(pid: int) -> None:
    """It and its process group, which it leads as soon as it has begun."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
