"""The operator's roles as its image runs them, each in a process of its own, and what they say of themselves."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp

from handfast_bench.identities import TRUST_DOMAIN
from handfast_bench.namespaces import BenchFailed
from handfast_control.children import python
from handfast_control.exposition import parse
from handfast_control.members import RANGE
from handfast_control.usage import Usage, usage_of
from handfast_control.waiting import SIDECAR_IMAGE
from handfast_sidecar.wellknown import CONTROLLER_HEALTH_PORT, DIRECTORY_HEALTH_PORT, WEBHOOK_HEALTH_PORT

POLL_S: Final = 0.25
"""To be asked costs the controller a millisecond or two each time."""
PORTS: Final = {
    "controller": CONTROLLER_HEALTH_PORT,
    "webhook": WEBHOOK_HEALTH_PORT,
    "directory": DIRECTORY_HEALTH_PORT,
}
"""On which each role says how it is."""
_ISSUED: Final = "handfast_leaves_issued_total"
_QUEUED: Final = "handfast_leaf_queue_length"
_FAILED: Final = "handfast_leaf_issue_failures_total"


class Role:
    """One that runs."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, session: aiohttp.ClientSession, log: Path
    ) -> None:
        self._name, self._process, self._session, self._log = name, process, session, log
        self._url = f"http://127.0.0.1:{PORTS[name]}"
        self.began = time.monotonic()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def usage(self) -> Usage:
        """Until now. Raises OSError when it has ended."""
        return usage_of(self.pid)

    def check(self) -> None:
        """Raises BenchFailed when it has ended."""
        if self._process.returncode is not None:
            raise BenchFailed(f"the {self._name} has ended; see {self._log}")

    async def ready(self, timeout_s: float) -> float:
        """The moment at which it said so. Raises BenchFailed."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with self._session.get(f"{self._url}/readyz") as answer:
                    if answer.status == 200:
                        return time.monotonic()
            await asyncio.sleep(POLL_S)
        raise BenchFailed(f"the {self._name} did not become ready; see {self._log}")


class Controller(Role):
    """The one that issues."""

    async def counts(self) -> dict[str, float]:
        """Leaves issued, pods in the queue, failures; nothing while it does not answer."""
        try:
            async with self._session.get(f"{self._url}/metrics") as answer:
                text = await answer.text()
        except aiohttp.ClientError:
            return {}
        counts = dict.fromkeys((_ISSUED, _QUEUED, _FAILED), 0.0)
        for (name, _), value in parse(text, (_ISSUED, _QUEUED, _FAILED)).items():
            counts[name] += value
        return {"issued": counts[_ISSUED], "queued": counts[_QUEUED], "failed": counts[_FAILED]}

    async def issued(self, leaves: int, timeout_s: float) -> float:
        """The moment at which it had issued so many. Raises BenchFailed."""
        return await self.until(lambda counts: counts["issued"] >= leaves, timeout_s)

    async def until(self, holds: Callable[[dict[str, float]], bool], timeout_s: float) -> float:
        """The moment, in monotonic seconds, at which it was seen to hold of the counts. Raises BenchFailed."""
        deadline, counts = time.monotonic() + timeout_s, dict[str, float]()
        while time.monotonic() < deadline and self._process.returncode is None:
            counts = await self.counts()
            if counts and holds(counts):
                return time.monotonic()
            await asyncio.sleep(POLL_S)
        raise BenchFailed(
            f"the controller is not where it should be: {counts or 'it does not answer'}; see {self._log}"
        )


@asynccontextmanager
async def controller(folder: Path, kubeconfig: Path) -> AsyncIterator[Controller]:
    """Started, not yet ready; it ends with the block, and gives its Lease back."""
    async with _process("controller", folder, kubeconfig) as process, aiohttp.ClientSession() as session:
        yield Controller("controller", process, session, folder / "controller.log")


@asynccontextmanager
async def server(name: str, folder: Path, kubeconfig: Path, tls: Path, **environment: str) -> AsyncIterator[Role]:
    """The webhook or the directory, started, not yet ready; `tls` holds what it serves with."""
    words = _process(name, folder, kubeconfig, HANDFAST_TLS_DIR=str(tls), **environment)
    async with words as process, aiohttp.ClientSession() as session:
        yield Role(name, process, session, folder / f"{name}.log")


def _process(
    name: str, folder: Path, kubeconfig: Path, **environment: str
) -> contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]:
    settings = {
        "KUBECONFIG": str(kubeconfig),
        "HANDFAST_TRUST_DOMAIN": TRUST_DOMAIN,
        "HANDFAST_CLUSTER_RANGES": RANGE,
        "HANDFAST_POD_NAME": "bench",
        # Else each workload is told that its sidecar is an old one, which is not what is measured.
        "HANDFAST_SIDECAR_IMAGE": SIDECAR_IMAGE,
    }
    return python(name, folder, "handfast_operator", name, ready="", **settings, **environment)
