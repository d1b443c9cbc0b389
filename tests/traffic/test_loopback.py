"""The way in of explicit mode: a pod whose own address is 127.0.0.2, so that its loopback is another address."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from handfast_sidecar.config.ports import PortRange
from handfast_sidecar.directory.messages import PodAddress, Transport
from handfast_sidecar.policy.effective import EffectivePolicy, Mode, ModeRule
from support.mesh import CLIENT_ID, SERVER_ID, STRICT, Client, Server, echo, free_port, identity, is_reset

POD = "127.0.0.2"
PERMISSIVE = EffectivePolicy(ModeRule(Mode.PERMISSIVE))
WARNING = "a port is open to everybody, whatever the policy says"


@asynccontextmanager
async def serving(*addresses: str) -> AsyncIterator[int]:
    """An application that listens on these addresses alone, at one port, and sends back what it hears."""
    port = free_port()
    server = await asyncio.start_server(echo, addresses, port)
    yield port
    server.close()


@asynccontextmanager
async def explicit(
    port: int, *, policy: EffectivePolicy = STRICT, declared: bool = True
) -> AsyncIterator[tuple[Client, Server]]:
    """A client's sidecar, and one in explicit mode at POD."""
    ports = [PortRange(port, port)] if declared else []
    server = Server(identity(SERVER_ID), policy, host=POD, loopback_ports=ports)
    client = Client(identity(CLIENT_ID, pod_uid="22222222-0000-0000-0000-000000000000"), server, port)
    client.directory.known_answers[POD] = PodAddress(POD, "shop/orders-0", "uid", Transport.TUNNEL, SERVER_ID)
    client.destination = (POD, port)
    try:
        yield client, server
    finally:
        client.close()
        server.close()
        await asyncio.sleep(0)


async def spoken(client: Client) -> bytes:
    reader, writer = await client.dial()
    writer.write(b"hello")
    answer = await reader.readexactly(5)
    writer.close()
    return answer


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", POD])
async def test_the_application_is_reached_wherever_in_the_pod_it_listens(address: str) -> None:
    async with serving(address) as port, explicit(port) as (client, server):
        assert await spoken(client) == b"hello"
        ended = await server.ended.next()
        assert (ended.peer, ended.destination, ended.destination_port) == (CLIENT_ID, POD, port)


async def test_what_listens_on_loopback_alone_is_out_of_everybody_elses_reach() -> None:
    async with serving("127.0.0.1") as port, explicit(port) as (client, _server):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(POD, port)
        assert await spoken(client) == b"hello"


async def test_loopback_is_tried_before_the_pods_own_address() -> None:
    reached: asyncio.Queue[str] = asyncio.Queue()

    def told(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.put_nowait(writer.get_extra_info("sockname")[0])
        writer.close()

    port = free_port()
    async with await asyncio.start_server(told, ["127.0.0.1", "::1", POD], port), explicit(port) as (client, _server):
        _reader, writer = await client.dial()
        assert await reached.get() == "127.0.0.1"
        writer.close()


async def test_a_port_on_which_nothing_listens_is_a_reset_with_its_reason() -> None:
    async with explicit(free_port()) as (client, _server):
        assert await is_reset(client.listener.port)
        assert (await client.ended.next()).reason == "connection_refused"


@pytest.mark.parametrize("port", [14001, 14006, 14008, 14020])
async def test_the_sidecars_own_ports_are_no_applications(port: int) -> None:
    async with explicit(port) as (client, _server):
        assert await is_reset(client.listener.port)
        assert (await client.ended.next()).reason == "reserved_port"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_what_no_container_declares_stays_the_pods_own_on_loopback(address: str) -> None:
    """A debugger; or an upstream, through which a peer would go on with this pod's identity."""
    async with serving(address) as port, explicit(port, declared=False) as (client, _server):
        assert await is_reset(client.listener.port)
        assert (await client.ended.next()).reason == "connection_refused"


async def test_what_no_container_declares_is_reached_at_the_pods_own_address() -> None:
    async with serving(POD) as port, explicit(port, declared=False) as (client, _server):
        assert await spoken(client) == b"hello"


async def test_a_sidecar_in_explicit_mode_is_no_open_relay_either() -> None:
    async with serving("127.0.0.1") as port, explicit(port) as (client, server):
        server.inbound._pod_ips = frozenset({"10.9.9.9"})
        assert await is_reset(client.listener.port)
        assert (await client.ended.next()).reason == "not_local"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(vars(record)["detail"]) for record in caplog.records if record.getMessage() == WARNING]


@pytest.mark.parametrize("addresses", [("0.0.0.0",), ("::",)], ids=str)
async def test_a_port_that_strict_cannot_guard_is_told_once_with_the_remedy(
    caplog: pytest.LogCaptureFixture, addresses: tuple[str, ...]
) -> None:
    async with serving(*addresses) as port, explicit(port) as (client, _server):
        for _ in range(3):
            await spoken(client)
        [detail] = warnings(caplog)
        assert "MTLSPolicy shop/orders asks for Strict" in detail
        assert "let it listen on 127.0.0.1" in detail


@pytest.mark.parametrize(
    ("addresses", "policy"),
    [(("127.0.0.1", "::1"), STRICT), (("0.0.0.0",), PERMISSIVE)],
    ids=["loopback", "permissive"],
)
async def test_nothing_is_told_of_a_port_that_is_as_the_policy_says(
    caplog: pytest.LogCaptureFixture, addresses: tuple[str, ...], policy: EffectivePolicy
) -> None:
    caplog.set_level(logging.WARNING)
    async with serving(*addresses) as port, explicit(port, policy=policy) as (client, _server):
        await spoken(client)
        assert warnings(caplog) == []


async def test_a_policy_that_becomes_strict_is_told_of_at_the_next_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with serving("0.0.0.0") as port, explicit(port, policy=PERMISSIVE) as (client, server):
        await spoken(client)
        server.policy.offer(STRICT, 2)
        await spoken(client)
        assert len(warnings(caplog)) == 1
