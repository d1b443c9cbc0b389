"""An event loop of its own for code that treats a loop as its property.

The one rule: nobody waits for that loop to end. It lives in a daemon thread, tells at once how its work ended, and dies
with the process.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

STOP_S: Final = 5.0
"""Seconds that the work may take to end when it is cancelled."""


async def in_own_loop(work: Callable[[], Coroutine[Any, Any, str]], name: str) -> str:
    """What the work said when it ended, or how it failed; cancelled when the caller is."""
    ours = asyncio.get_running_loop()
    ended: asyncio.Future[str] = ours.create_future()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []

    def end(said: str) -> None:
        if not ended.done():
            ended.set_result(said)

    async def report() -> None:
        running.append((asyncio.get_running_loop(), asyncio.current_task()))
        said = "cancelled"
        try:
            said = await work()
        except Exception as error:  # noqa: BLE001 - the supervisor of foreign code
            said = f"{type(error).__name__}: {error}"
        finally:
            call_in(ours, end, said)

    def thread() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(report())

    threading.Thread(target=thread, name=name, daemon=True).start()
    try:
        return await asyncio.shield(ended)
    finally:
        for loop, task in running:
            if task is not None:
                call_in(loop, task.cancel)
        await asyncio.wait([ended], timeout=STOP_S)


def call_in(loop: asyncio.AbstractEventLoop, what: Callable[..., object], *arguments: object) -> None:
    """From another thread; a loop that is closed hears nothing any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(what, *arguments)
