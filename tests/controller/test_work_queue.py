"""Each key at most once, by one worker at a time, the urgent ones first."""

import asyncio

from handfast_operator.controller.work_queue import WorkQueue


async def drain(queue: WorkQueue[str]) -> list[str]:
    found = []
    while len(queue):
        found.append(await queue.get())
    return found


async def test_a_key_waits_once_and_urgent_ones_go_first() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    queue.add("c", urgent=True)
    queue.add("c")
    assert await drain(queue) == ["c", "a", "b"]


async def test_a_waiting_key_can_become_urgent() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b"):
        queue.add(key)
    queue.add("b", urgent=True)
    assert await drain(queue) == ["b", "a"]


async def test_a_key_that_is_worked_on_comes_again_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add("a", urgent=True)
    queue.add("a")
    assert len(queue) == 0
    queue.done(key)
    assert await drain(queue) == ["a"]
    queue.done("a")
    assert queue.idle


async def test_a_worker_waits_for_a_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    worker = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await worker == "a"
