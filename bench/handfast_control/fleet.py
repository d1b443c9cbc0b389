"""A process of its own: the directory's clients of many sidecars, each with its own leaf, stream and policy in force.

`python -m handfast_control.fleet real|simulated|steady FOLDER...`, a folder for each, as kubelet projects a Secret. It
prints a line when all are connected. To each line that it reads, the number of a port, it answers twice: `armed`, and,
when every sidecar refuses the peer there, a JSON list of the moments at which they began to, in seconds of the system's
monotonic clock.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from handfast_bench.identities import TRUST_DOMAIN
from handfast_control.members import Member
from handfast_control.rules import PORT, stranger
from handfast_control.waiting import ACCOUNT, namespace_of, number_of
from handfast_sidecar.directory.client import Directory
from handfast_sidecar.directory.codec import decode_from_directory, encode
from handfast_sidecar.directory.messages import (
    MAX_LINE,
    REPORT_EVERY_S,
    FromDirectory,
    Hello,
    PolicyUpdate,
    Report,
    Watch,
    Welcome,
)
from handfast_sidecar.directory.reporting import Reporting
from handfast_sidecar.identity.contexts import directory_client_context
from handfast_sidecar.identity.reload import IdentityKeeper
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.observe.evidence import EdgeTable, report
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.verdict import tunnel_verdict

AT_ONCE: Final = 6
"""Handshakes: the directory takes 16 from one address."""
POLL_S: Final = 0.005
REAL, SIMULATED, STEADY = "real", "simulated", "steady"
PEER: Final = stranger(0)
PEERS: Final = 5
"""Whom one that has its work watches and talks to."""
STRIDE: Final = 17
REPLICAS: Final = 5
"""Pods of one workload, where they have their work."""


class Sidecar:
    """What of one is told of policies, all of it real."""

    def __init__(self, folder: Path) -> None:
        registry = Registry()
        self.keeper = IdentityKeeper(folder, registry)
        config = self.keeper.load_first().material.config
        self.in_force = PolicyInForce(config.policy, config.revision)
        self.directory = Directory(self.keeper, self.report, self.take, registry)
        self.port = 0
        """On which the peer is to be refused."""
        self.refused_at: float | None = None

    @property
    def refuses(self) -> bool:
        """Whether the peer would be refused there now."""
        return not tunnel_verdict(self.in_force.policy, PEER, TRUST_DOMAIN, self.port).allowed

    @property
    def connected(self) -> bool:
        """Whether the directory has welcomed it."""
        return self.directory.connected

    async def run(self) -> None:
        """Until cancelled."""
        await self.directory.run()

    def take(self, update: PolicyUpdate) -> None:
        """A policy came."""
        if self.in_force.offer(update.policy, update.revision) and self.port and self.refuses:
            self.refused_at = time.monotonic()

    def report(self) -> Report:
        """As the directory hears it every ten seconds."""
        leaf = self.keeper.current.leaf
        return Report(leaf.serial, leaf.not_after.isoformat(), "aa" * 32, self.in_force.revision)


class Simulated(Sidecar):
    """One of so many that a machine has no time to read the same lines as often as there are sidecars.

    Leaf, TLS, stream and policy in force are its own; a line that its process has read already is not parsed again.
    """

    welcomed = False

    @property
    def connected(self) -> bool:
        return self.welcomed

    async def run(self) -> None:
        material = self.keeper.current.material
        where = material.config.directory
        reader, writer = await asyncio.open_connection(
            where.host, where.port, ssl=directory_client_context(material), server_hostname="", limit=MAX_LINE
        )
        writer.write(encode(Hello("bench")))
        reports = asyncio.create_task(self._report_on(writer))
        try:
            while line := await reader.readline():
                match _decoded(line):
                    case Welcome():
                        self.welcomed = True
                    case PolicyUpdate() as update:
                        self.take(update)
                    case _:
                        pass
            raise ConnectionError("the directory ended the stream")
        finally:
            reports.cancel()
            writer.transport.abort()

    async def _report_on(self, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(encode(self.report()))
            await asyncio.sleep(REPORT_EVERY_S)


class Steady(Simulated):
    """One that has its work: it watches the addresses of a few peers, and its reports say how it talks to them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._numbers = peers(number_of(self.keeper.current.leaf.pod_name))
        self._table = EdgeTable()
        self._reporting = Reporting(self.report)

    def report(self) -> Report:
        """A connection to and from each peer since the last one."""
        now = time.time()
        for number in self._numbers:
            identity = str(SpiffeId.of_service_account(TRUST_DOMAIN, namespace_of(number, REPLICAS), ACCOUNT))
            for direction in ("in", "out"):
                edge = self._table.edge(direction, identity, PORT, encrypted=True)
                edge.opened(now)
                edge.closed(now, 1_000, 10_000)
        material = self.keeper.current.material
        return report(material, self.in_force.revision, self._table.edges, (material.leaf.issuer,))

    async def _report_on(self, writer: asyncio.StreamWriter) -> None:
        writer.writelines(encode(Watch(Member(number).ip)) for number in self._numbers)
        while True:
            writer.writelines(map(encode, self._reporting.next()))
            await asyncio.sleep(REPORT_EVERY_S)


def peers(number: int) -> list[int]:
    """Whom a pod talks to: others of its hundred, of other workloads."""
    hundred, place = divmod(number, 100)
    return [100 * hundred + (place + STRIDE * each) % 100 for each in range(1, PEERS + 1)]


@lru_cache(maxsize=256)
def _decoded(line: bytes) -> FromDirectory | None:
    return decode_from_directory(line)


KINDS: Final = {REAL: Sidecar, SIMULATED: Simulated, STEADY: Steady}


async def run(kind: str, folders: Sequence[Path]) -> None:
    """Until standard input ends."""
    sidecars = [KINDS[kind](each) for each in folders]
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    places = asyncio.Semaphore(AT_ONCE)
    tasks = [asyncio.ensure_future(_connected(each, places)) for each in sidecars]
    streams = [await each for each in tasks]
    _tell("ready")
    while line := await reader.readline():
        for each in sidecars:
            each.port, each.refused_at = int(line), None
        if any(each.refuses for each in sidecars):
            raise ValueError(f"port {int(line)} is refused before it is asked for")
        _tell("armed")
        while any(each.refused_at is None for each in sidecars):
            await asyncio.sleep(POLL_S)
            for stream in streams:
                if stream.done():
                    stream.result()
        _tell(json.dumps([each.refused_at for each in sidecars]))
    for stream in streams:
        stream.cancel()
    await asyncio.wait(streams)


async def _connected(sidecar: Sidecar, places: asyncio.Semaphore) -> "asyncio.Task[None]":
    async with places:
        stream = asyncio.create_task(sidecar.run())
        while not (sidecar.connected or stream.done()):  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(POLL_S)
    if stream.done():
        await stream
    return stream


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - whoever started us waits for it


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], [Path(each) for each in sys.argv[2:]]))
