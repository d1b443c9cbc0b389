"""How the two ends of a connection carry out its plan, and what each of them says of it afterwards."""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from enum import StrEnum, unique
from typing import Any

from handfast_soak.endpoint import Broken, Endpoint, OwnAbort, PeerReset
from handfast_soak.pattern import WrongBytes
from handfast_soak.plan import Kind, Order, Side


@unique
class Ended(StrEnum):
    """How a connection ended for one of its ends."""

    CLEAN = "clean"
    ABORTED = "aborted"
    """By this end, as planned."""
    RESET = "reset"
    """By the other end's RST."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One end's word on one connection; a line of JSON between processes."""

    side: str
    number: int
    """0 where the plan never arrived."""
    kind: str
    aborts: str
    ended: Ended
    sent: int
    received: int
    detail: str = ""

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, line: str) -> "Outcome":
        raw = json.loads(line)
        return cls(**{**raw, "ended": Ended(raw["ended"])})


async def carry_out(end: Endpoint, stopping: asyncio.Event) -> Outcome:
    """The plan, from the first byte after it to the end; never raises but for cancellation."""
    ended, detail = Ended.CLEAN, ""
    try:
        await _talk(end, stopping)
        end.close()
    except OwnAbort:
        ended = Ended.ABORTED
    except PeerReset as reset:
        ended, detail = Ended.RESET, str(reset)
    except (Broken, WrongBytes) as failure:
        ended, detail = Ended.FAILED, f"{type(failure).__name__}: {failure}"
    finally:
        if ended is not Ended.CLEAN:
            end.abort()
        end.close()
    plan = end.plan
    return Outcome(end.side.word, plan.number, plan.kind.word, plan.aborts.word, ended, end.sent, end.received, detail)


async def _talk(end: Endpoint, stopping: asyncio.Event) -> None:
    plan, client = end.plan, end.side is Side.CLIENT
    if plan.kind is Kind.EMPTY:
        await _nothing(end)
    elif plan.order in (Order.ROUNDS, Order.COUNTED_ROUNDS):
        await (_ask(end, stopping) if client else _answer(end))
    else:
        ours, theirs = (plan.up, plan.down) if client else (plan.down, plan.up)
        first = {Order.CLIENT_FIRST: client, Order.SERVER_FIRST: not client}.get(plan.order)
        if first is None:
            await _both(_send_all(end, ours), _receive_all(end, theirs))
        elif first:
            await _send_all(end, ours)
            await _receive_all(end, theirs)
        else:
            await _receive_all(end, theirs)
            await _send_all(end, ours)


async def _nothing(end: Endpoint) -> None:
    await end.send(0)
    end.finish()
    await end.expect_end()


async def _ask(end: Endpoint, stopping: asyncio.Event) -> None:
    plan = end.plan
    piece = plan.up // plan.rounds
    for left in reversed(range(plan.rounds)):
        await _both(end.send(piece), end.receive(piece))
        if left and plan.quiet_ms:
            await _pause(plan.quiet_ms / 1000, stopping)
        if stopping.is_set() and plan.order is Order.ROUNDS:
            break
    if plan.order is Order.COUNTED_ROUNDS:
        await end.expect_end()
        end.finish()
    else:
        end.finish()
        await end.expect_end()


async def _answer(end: Endpoint) -> None:
    counted = end.plan.order is Order.COUNTED_ROUNDS
    while got := await end.receive_some():
        await end.send(got)
        if counted and end.sent == end.plan.down:
            end.finish()
            await end.expect_end()
            return
    if counted:
        raise Broken(f"FIN after {end.received} bytes of {end.plan.up}")
    end.finish()


async def _send_all(end: Endpoint, count: int) -> None:
    await end.send(count)
    end.finish()


async def _receive_all(end: Endpoint, count: int) -> None:
    await end.receive(count)
    await end.expect_end()


async def _both(*steps: Coroutine[Any, Any, None]) -> None:
    """Both directions at once; the first failure ends the other."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in sorted(done, key=tasks.index):
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pause(seconds: float, stopping: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
