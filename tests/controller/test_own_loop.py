"""Foreign code in a loop of its own."""

import asyncio
import threading

import pytest

from handfast_operator.controller.own_loop import in_own_loop


async def test_the_work_runs_in_another_thread_and_says_how_it_ended() -> None:
    async def work() -> str:
        return threading.current_thread().name

    assert await in_own_loop(work, "kopf") == "kopf"


async def test_a_failure_is_a_sentence() -> None:
    async def work() -> str:
        raise ValueError("no such thing")

    assert await in_own_loop(work, "kopf") == "ValueError: no such thing"


async def test_the_work_is_cancelled_with_its_caller() -> None:
    ours, begun, ended = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    async def work() -> str:
        ours.call_soon_threadsafe(begun.set)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    caller = asyncio.create_task(in_own_loop(work, "kopf"))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()
