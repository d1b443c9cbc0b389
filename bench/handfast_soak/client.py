"""The process that dials: `python -m handfast_soak.client ADDRESS --seconds S`.

One line of JSON for each connection.
"""

import argparse
import asyncio
import socket
import sys
from itertools import count
from random import Random
from typing import Final

from handfast_soak import own_time
from handfast_soak.conversation import Ended, Outcome, carry_out
from handfast_soak.endpoint import STEP_S, Endpoint
from handfast_soak.mix import MIX, Share
from handfast_soak.plan import Kind, Plan, Side
from handfast_soak.server import PORT

LONGEST_S: Final = 45.0
"""Seconds that an idle connection keeps silent at most: longer than the 30 s after which leaves rotate."""
LONGEST_PART: Final = 0.3
"""Of a short soak; so that each kind runs several times in it."""


class Client:
    """All workers of all kinds."""

    def __init__(self, address: str, seconds: float, seed: int, first: int) -> None:
        self._address, self._seconds, self._seed = address, seconds, seed
        self._longest_s = min(LONGEST_S, seconds * LONGEST_PART)
        self._numbers = count(first)
        self._stopping = asyncio.Event()

    async def run(self, names: list[str]) -> None:
        """Until the seconds are over and the last connection has ended."""
        asyncio.get_running_loop().call_later(self._seconds, self._stopping.set)
        async with asyncio.TaskGroup() as group:
            for share in MIX:
                for worker in range(share.workers if not names or share.name in names else 0):
                    group.create_task(self._work(share, Random(f"{self._seed} {share.name} {worker}")))  # noqa: S311

    async def _work(self, share: Share, random: Random) -> None:
        await self._pause(random.uniform(0, min(self._longest_s, 2.0)))
        while not self._stopping.is_set():
            outcome = await self._one(share.plan(random, next(self._numbers), self._longest_s))
            sys.stdout.write(f"{outcome.dump()}\n")
            sys.stdout.flush()
            await self._pause(random.uniform(*share.pause_s))

    async def _one(self, plan: Plan) -> Outcome:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        end = Endpoint(sock, plan, Side.CLIENT)
        try:
            async with asyncio.timeout(STEP_S):
                await asyncio.get_running_loop().sock_connect(sock, (self._address, PORT))
            if plan.kind is not Kind.EMPTY:
                await end.send_raw(plan.encode())
        except (OSError, TimeoutError) as error:
            sock.close()
            failed = f"connect: {type(error).__name__}: {error}"
            return Outcome("client", plan.number, plan.kind.word, plan.aborts.word, Ended.FAILED, 0, 0, failed)
        return await carry_out(end, self._stopping)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def main() -> None:
    """Read the words and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the first connection's number")
    parser.add_argument("--only", nargs="*", default=[], help="names of shares of the mix")
    words = parser.parse_args()

    async def run() -> None:
        await Client(words.address, words.seconds, words.seed, words.first).run(words.only)

    own_time.run(run())


if __name__ == "__main__":
    main()
