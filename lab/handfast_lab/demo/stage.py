"""What a step of the demo does: types commands, looks at the wire, and checks what it claims.

The one rule: nothing is claimed that was not looked at in this run. A check that fails ends the demo.
"""

import asyncio
import io
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from handfast_lab.demo.telling import Teller
from handfast_lab.kubectl.main import main as kubectl
from handfast_lab.network.capture import Capture, capturing
from handfast_lab.network.links import BRIDGE

Json = dict[str, Any]
PATIENCE_S: Final = 30.0
POLL_S: Final = 0.1
OUR_NETWORK: Final = Path("/proc/thread-self/ns/net")


class StepFailed(Exception):
    """What the demo claims does not hold; the sentence says what, and where to look."""


class Stage:
    """Types commands as a person would, and shows them."""

    def __init__(self, teller: Teller, kubeconfig: Path) -> None:
        self.teller = teller
        self._environment = {"KUBECONFIG": str(kubeconfig)}

    async def run(self, words: str, given: str = "", *, show: bool = True, fails: bool = False) -> str:
        """`kubectl WORDS`, shown with what it prints. Raises StepFailed when it ends otherwise than `fails` says."""
        if show:
            self.teller.command(f"kubectl {words}", given)
        code, output = await self._kubectl(words.split(), given)
        if show:
            self.teller.output(output)
        if bool(code) != fails:
            expected = "was to fail" if fails else "failed"
            raise StepFailed(f"`kubectl {words}` {expected} and ended with {code}: {output.strip()}")
        return output

    async def ask(self, words: str, given: str = "") -> str:
        """The same without a word to anybody; empty when it fails."""
        code, output = await self._kubectl(words.split(), given)
        return "" if code else output

    async def handfast(self, words: str) -> str:
        """`handfast WORDS`: what it printed. Raises StepFailed when it cannot say."""
        code, output = await self._handfast(words)
        if code:
            raise StepFailed(f"`handfast {words}` ended with {code}: {output.strip()}")
        return output

    async def _handfast(self, words: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "handfast_operator.cli",
            *words.split(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **self._environment},
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    async def _kubectl(self, words: list[str], given: str) -> tuple[int, str]:
        said = io.StringIO()
        stdin = io.StringIO(given)
        code = await asyncio.to_thread(kubectl, words, self._environment, stdin, said, said)
        return code, said.getvalue()

    async def until(self, what: str, look: Callable[[], Awaitable[bool]], patience_s: float = PATIENCE_S) -> None:
        """Look until it holds. Raises StepFailed when it does not in time."""
        deadline = time.monotonic() + patience_s
        while not await look():
            if time.monotonic() > deadline:
                raise StepFailed(f"{what}: not within {patience_s:.0f} s")
            await asyncio.sleep(POLL_S)

    def check(self, holds: bool, claim: str) -> None:
        """Say it when it holds. Raises StepFailed."""
        if not holds:
            raise StepFailed(f"this does not hold: {claim}")
        self.teller.seen(claim)

    @contextmanager
    def wire(self, *addresses: str) -> Iterator[Capture]:
        """What passes the bridge between pods while the block runs."""
        with capturing(OUR_NETWORK, BRIDGE, *addresses) as seen:
            yield seen
