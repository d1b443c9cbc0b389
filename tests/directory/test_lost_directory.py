"""A directory that lost the API server, and sidecars that lost their directory without a word."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from handfast_operator.cluster.objects import Pod
from handfast_operator.directory.siblings import Siblings
from handfast_operator.settings import Settings
from handfast_sidecar.directory.messages import AddressAnswer, NobodyAddress, PodAddress
from handfast_sidecar.directory.questions import UNANSWERED_S
from handfast_sidecar.wellknown import DIRECTORY_ACCOUNT
from support.directory import HOST, Lab, Sidecar, running, until
from support.stores import Cluster, pod

CART = pod("cart", "10.0.0.1")
ORDERS = pod("orders", "10.0.0.2")
NEW = pod("new", "10.0.0.9")
TICKS = 15
"""After which each session has had its turn."""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, Cluster(CART, ORDERS))


async def test_while_no_replica_hears_of_the_api_server_sidecars_stay_and_others_come(lab: Lab) -> None:
    lab.siblings_know_more = False
    async with lab.server() as server, lab.sidecar(CART) as cart:
        await until(lambda: cart.directory.connected)
        lab.follow.fresh_at = 0
        for _ in range(TICKS):
            server.switchboard.tick()
        async with lab.sidecar(ORDERS) as orders:
            assert isinstance(await orders.directory.resolve("10.0.0.1", 5), PodAddress)
        assert isinstance(await cart.directory.resolve("10.0.0.2", 5), PodAddress)
        assert cart.directory.connected


async def test_a_replica_without_the_api_server_calls_no_address_of_the_cluster_nobodys(lab: Lab) -> None:
    lab.siblings_know_more = False
    async with lab.server() as server, lab.sidecar(CART) as before, lab.sidecar(ORDERS) as after:
        server.switchboard.cluster_ranges = ("10.0.0.0/8",)
        assert isinstance(await before.directory.resolve("10.0.0.9", 5), NobodyAddress)
        lab.follow.fresh_at = 0
        server.switchboard.tick()
        assert await after.directory.resolve("10.0.0.9", UNANSWERED_S + 0.5) is None
        assert after.directory.connected, "somebody who says that he is alive is not taken for lost"
        assert isinstance(await after.directory.resolve("192.0.2.1", 5), NobodyAddress), "outside of it"
        lab.follow.fresh_at = float("inf")
        server.switchboard.tick()
        await until(lambda: isinstance(after.directory.known("10.0.0.9"), NobodyAddress))


async def test_a_pod_that_came_meanwhile_is_told_to_who_asked(lab: Lab) -> None:
    lab.siblings_know_more = False
    async with lab.server() as server, lab.sidecar(CART) as sidecar:
        await until(lambda: sidecar.directory.connected)
        lab.follow.fresh_at = 0
        server.switchboard.tick()
        answer = asyncio.create_task(sidecar.directory.resolve("10.0.0.9", 5))
        await until(lambda: len(server.switchboard._pushes.subscriptions) == 1)
        lab.follow.fresh_at = float("inf")
        lab.cluster.put(NEW)
        assert isinstance(await answer, PodAddress)


async def test_a_replica_that_is_ready_knows_more_than_one_that_is_not() -> None:
    here = Settings(pod_name="handfast-directory-0")
    pods = Cluster(*(replica(here, number) for number in range(2)), CART).pods
    async with readiness() as (answers, port):
        fresh = True
        siblings = Siblings(pods, here, lambda: fresh, port=port, ask_s=0.02)
        async with running(siblings.run()):
            fresh = False
            answers.append(200)
            await until(lambda: siblings.know_more)
            answers.append(503)
            await until(lambda: not siblings.know_more)
            answers.append(200)
            await until(lambda: siblings.know_more)
            fresh = True
            await until(lambda: not siblings.know_more)


async def test_a_replica_that_does_not_answer_knows_nothing() -> None:
    here = Settings(pod_name="handfast-directory-0")
    siblings = Siblings(Cluster(replica(here, 1)).pods, here, lambda: False, port=1, ask_s=0.02)
    siblings.know_more = True
    async with running(siblings.run()):
        await until(lambda: not siblings.know_more)


async def test_a_directory_that_does_not_answer_is_left_for_another_while_the_connection_still_waits(lab: Lab) -> None:
    async with lab.server(), cable(lab.port) as wire, sidecar_at(lab, wire.port) as sidecar:
        await until(lambda: sidecar.directory.connected)
        wire.cut(next_attempts=1)
        answer: AddressAnswer | None = await sidecar.directory.resolve("10.0.0.2", 5)
        assert isinstance(answer, PodAddress)
        await sidecar.ended("unanswered")
        await sidecar.ended("timeout")


class Cable:
    """A way to a server that can fall silent as a lost node does: nothing is refused, and nothing arrives."""

    def __init__(self) -> None:
        self.port = 0
        self._lost = 0
        self._live: list[asyncio.Event] = []
        self._ends: list[asyncio.StreamWriter] = []
        self._carrying: set[asyncio.Task[None]] = set()

    def cut(self, *, next_attempts: int) -> None:
        """What is connected now is, and so many attempts after it are, silent for ever."""
        self._lost = next_attempts
        for each in self._live:
            each.set()

    async def carry(self, to: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent = asyncio.Event()
        if self._lost:
            self._lost -= 1
            silent.set()
        self._live.append(silent)
        there, back = await asyncio.open_connection(HOST, to)
        self._ends += (writer, back)
        for ways in ((reader, back), (there, writer)):
            self._carrying.add(asyncio.create_task(self._one_way(*ways, silent)))

    async def end(self) -> None:
        for each in self._ends:
            each.transport.abort()
        await asyncio.wait(self._carrying)

    @staticmethod
    async def _one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silent: asyncio.Event) -> None:
        try:
            while chunk := await reader.read(65536):
                if not silent.is_set():
                    writer.write(chunk)
        except OSError:
            pass


@asynccontextmanager
async def cable(to: int) -> AsyncIterator[Cable]:
    wire = Cable()
    server = await asyncio.start_server(lambda reader, writer: wire.carry(to, reader, writer), HOST, 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        await wire.end()


def sidecar_at(lab: Lab, port: int) -> Sidecar:
    lab.port = port
    return lab.sidecar(CART)


def replica(settings: Settings, number: int) -> Pod:
    made = pod(f"handfast-directory-{number}", HOST, namespace=settings.namespace)
    return replace(made, service_account=DIRECTORY_ACCOUNT)


@asynccontextmanager
async def readiness() -> AsyncIterator[tuple[list[int], int]]:
    """Somebody who gives the last of these answers, and where."""
    answers: list[int] = []

    async def ready(_request: web.Request) -> web.Response:
        return web.Response(status=answers[-1])

    application = web.Application()
    application.add_routes([web.get("/readyz", ready)])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    assert runner.addresses
    try:
        yield answers, runner.addresses[0][1]
    finally:
        await runner.cleanup()
