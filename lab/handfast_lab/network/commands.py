"""The system's own tools for networks, with their words when they fail."""

import asyncio
from collections.abc import Sequence

TIMEOUT_S = 30


class CommandFailed(Exception):
    """A tool said no; what it said is in the message."""


async def run(command: Sequence[str], text: str = "") -> str:
    """Its standard output. Raises CommandFailed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, errors = await process.communicate(text.encode())
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}: {errors.decode(errors='replace').strip()}")
    return output.decode()
