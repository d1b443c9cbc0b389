"""Several pods behind one Service, with real tunnels: one dies, one drains, one is not who it should be."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import replace

import pytest

from handfast_sidecar.directory.messages import Endpoint, Place, ServiceAddress, Transport
from handfast_sidecar.traffic import backlog, client_relay
from handfast_sidecar.tunnel import dial, handshake
from support.mesh import CLIENT_ID, SERVER_ID, STRICT, Client, Server, application, free_port, identity, is_reset

VIP = "10.96.0.1"
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
CLIENT = identity(CLIENT_ID, pod_uid="22222222-0000-0000-0000-000000000000")


class Replicas:
    """Pods that answer with their own address, each with a sidecar, and a client's sidecar."""

    def __init__(self, client: Client, servers: list[Server], port: int) -> None:
        self.client, self.servers, self.port = client, servers, port
        self.ends = tuple(
            Endpoint(each.host, port, Transport.TUNNEL, SERVER_ID, f"uid-{each.host}") for each in servers
        )
        client.destination = (VIP, 80)
        self.answer(*self.ends)

    def answer(self, *ends: Endpoint, **fields: object) -> None:
        self.client.directory.known_answers[VIP] = ServiceAddress(VIP, "shop/orders", {80: ends}, **fields)  # type: ignore[arg-type]

    async def ask(self) -> str:
        """Who answers one connection."""
        reader, writer = await self.client.dial()
        answer = await reader.readline()
        writer.close()
        return answer.decode().strip()

    def at(self, host: str) -> Server:
        """The sidecar of a pod."""
        return self.servers[HOSTS.index(host)]

    async def request(self, whole: bytes) -> tuple[str, bytes]:
        """Who answers a request that ends with a FIN, and with what."""
        reader, writer = await self.client.dial()
        writer.write(whole)
        writer.write_eof()
        where, _, answer = (await reader.read()).partition(b"\n")
        writer.close()
        return where.decode(), answer

    async def hold(self, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to this pod that stays."""
        while True:
            reader, writer = await self.client.dial()
            if (await reader.readline()).decode().strip() == host:
                return reader, writer
            writer.close()

    async def heard(self, end: Endpoint) -> None:
        """Until the client knows that this pod goes away."""
        while not self.client.pool.drains(end):  # noqa: ASYNC110 - one frame sets it, and nobody is told
            await asyncio.sleep(0)

    async def ask_often(self, times: int = 60) -> Counter[str]:
        return Counter([await self.ask() for _ in range(times)])

    def make_due(self) -> None:
        """Let the time pass for which endpoints are left out."""
        for absence in self.client.outbound._choice.health.absent.values():
            absence.due = 0.0


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def say_where(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(writer.get_extra_info("sockname")[0].encode() + b"\n")
    with suppress(ConnectionError):
        writer.write(await reader.read(3))
    writer.close()


@contextmanager
def server_at(host: str, mesh_port: int, who: object = SERVER_ID) -> Iterator[Server]:
    with closing(Server(identity(who), STRICT, host=host, mesh_port=mesh_port)) as server:  # type: ignore[arg-type]
        yield server


@asynccontextmanager
async def replicas(
    *identities: object, handler: Handler = say_where, listening: Sequence[str] = HOSTS
) -> AsyncIterator[Replicas]:
    """`listening`: pods whose application is there."""
    async with AsyncExitStack() as stack:
        port, mesh_port = free_port(), free_port()
        servers = []
        for host, who in zip(HOSTS, identities or (SERVER_ID,) * len(HOSTS), strict=True):
            if host in listening:
                await stack.enter_async_context(application(handler, host, port))
            servers.append(stack.enter_context(server_at(host, mesh_port, who)))
        client = Client(CLIENT, servers[0], port)
        stack.callback(client.close)
        yield Replicas(client, servers, port)
        await asyncio.sleep(0)


async def test_connections_are_spread_over_all_pods_of_a_service() -> None:
    async with replicas() as pods:
        answers = await pods.ask_often()
        assert set(answers) == set(HOSTS)
        assert min(answers.values()) >= 10, "of 60"
        assert [len(each.mesh.registry) for each in pods.servers] == [1, 1, 1]


async def test_when_a_pods_sidecar_is_gone_no_connection_fails_and_it_is_tried_again_later() -> None:
    async with replicas() as pods:
        gone = pods.servers[0]
        gone.close()
        assert set(await pods.ask_often(30)) == set(HOSTS[1:])
        assert pods.client.failures == ["unreachable"], "one dial is enough to know"
        pods.make_due()
        await pods.ask_often(30)
        assert pods.client.failures == ["unreachable"] * 2
        with server_at(gone.host, pods.servers[1].listener.port):
            pods.make_due()
            assert set(await pods.ask_often(60)) == set(HOSTS), "it is whole again"
            assert not pods.client.outbound._choice.health.absent


async def test_a_pod_that_dies_with_its_tunnel_open_loses_only_what_was_on_it() -> None:
    async with replicas() as pods:
        await pods.ask_often()
        pods.servers[0].close()
        await pods.client.closed.get()
        assert set(await pods.ask_often(30)) == set(HOSTS[1:])


async def test_when_no_pod_of_a_service_can_be_reached_the_reason_of_the_last_is_told() -> None:
    async with replicas() as pods:
        for each in pods.servers:
            each.close()
        for _ in range(2):  # left out or not: all are tried
            assert await is_reset(pods.client.listener.port)
            assert (await pods.client.ended.next()).reason == "handshake_unreachable"
        assert pods.client.failures == ["unreachable"] * 6


async def test_a_pod_address_has_no_second_choice() -> None:
    async with replicas() as pods:
        pods.servers[0].close()
        pods.client.destination = ("127.0.0.1", pods.port)
        assert await is_reset(pods.client.listener.port)
        assert (await pods.client.ended.next()).reason == "handshake_unreachable"
        assert pods.client.failures == ["unreachable"]
        assert not pods.client.outbound._choice.health.absent, "there is nothing to leave it out of"


async def test_an_impostor_is_told_apart_logged_and_passed_over_and_never_spoken_to_in_plaintext(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with replicas(CLIENT_ID, SERVER_ID, SERVER_ID) as pods:
        assert set(await pods.ask_often(30)) == set(HOSTS[1:])
        assert pods.client.failures == ["wrong_identity"]
        [record] = [each for each in caplog.records if "left out" in each.message]
        assert record.__dict__["reason"] == "handshake_wrong_identity"
        assert record.__dict__["endpoint"] == f"{HOSTS[0]}:{pods.port}"
        assert str(SERVER_ID) in record.__dict__["detail"]


async def test_a_dial_that_nobody_answers_goes_on_to_another_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "DIAL_TIMEOUT_S", 0.2)
    async with replicas() as pods:
        dark = Endpoint("192.0.2.1", pods.port, Transport.TUNNEL, SERVER_ID, "uid-dark")
        pods.answer(dark, pods.ends[0])
        assert set(await pods.ask_often(10)) == {HOSTS[0]}
        assert pods.client.failures == ["unreachable"]


@pytest.mark.parametrize(("hangs", "reason"), [(True, "timeout"), (False, "closed")])
async def test_a_handshake_that_hangs_or_is_broken_off_goes_on_to_another_pod(
    monkeypatch: pytest.MonkeyPatch, hangs: bool, reason: str
) -> None:
    monkeypatch.setattr(handshake, "HANDSHAKE_TIMEOUT_S", 0.2)

    async def no_sidecar(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while hangs and await reader.read(4096):
            pass
        writer.close()

    async with replicas() as pods:
        odd = Endpoint("127.0.0.9", pods.port, Transport.TUNNEL, SERVER_ID, "uid-odd")
        async with application(no_sidecar, odd.address, pods.servers[0].listener.port):
            pods.answer(odd, pods.ends[0])
            assert set(await pods.ask_often(10)) == {HOSTS[0]}
        assert pods.client.failures == [reason]


async def test_a_pod_that_drains_takes_no_new_connections_and_serves_what_runs() -> None:
    async with replicas() as pods:
        reader, writer = await pods.hold(HOSTS[0])
        draining = pods.servers[0]
        draining.inbound.draining = True
        draining.mesh.drain("shutting_down")
        await pods.heard(pods.ends[0])
        assert set(await pods.ask_often()) == set(HOSTS[1:]), "no connection was refused"
        writer.write(b"bye")
        assert await reader.read() == b"bye"
        writer.close()


async def test_a_pod_that_drained_is_not_dialled_anew_while_it_ends() -> None:
    async with replicas() as pods:
        pods.answer(pods.ends[0])
        await pods.ask()
        pods.servers[0].mesh.drain("shutting_down")
        assert await pods.client.closed.get() == "drained"
        pods.answer(*pods.ends)
        assert set(await pods.ask_often()) == set(HOSTS[1:])
        assert pods.client.failures == []


async def test_when_all_pods_drain_they_are_asked_all_the_same() -> None:
    async with replicas() as pods:
        await pods.ask_often()
        for each in pods.servers:
            each.mesh.drain("shutting_down")
        assert [await pods.client.closed.get() for _ in pods.servers] == ["drained"] * 3
        assert set(await pods.ask_often(10)) <= set(HOSTS)


async def test_affinity_holds_across_connections_until_its_pod_is_gone() -> None:
    async with replicas() as pods:
        pods.answer(*pods.ends, affinity=3600)
        [first] = await pods.ask_often(20)
        pods.servers[HOSTS.index(first)].close()
        await pods.client.closed.get()
        [second] = await pods.ask_often(20)
        assert second != first


async def test_a_local_service_without_a_pod_on_our_node_is_refused_with_its_reason() -> None:
    async with replicas() as pods:
        pods.client.directory.place = Place("node-9")
        pods.answer(*pods.ends, local=True)
        assert await is_reset(pods.client.listener.port)
        assert (await pods.client.ended.next()).reason == "no_local_endpoints"


async def test_pods_without_a_sidecar_have_their_part_beside_meshed_ones_and_are_passed_over_when_dead() -> None:
    async with replicas() as pods:
        plain, dead = Endpoint(HOSTS[1], pods.port), Endpoint(HOSTS[2], free_port())
        pods.answer(pods.ends[0], plain, dead)
        answers = await pods.ask_often()
        assert set(answers) == set(HOSTS[:2])
        assert min(answers.values()) >= 10
        for _ in range(60):
            await pods.client.ended.next()
        assert not pods.client.outbound._plaintext._loads


async def echo_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Its own address, and all that it was sent to the end."""
    whole = await reader.read(-1)
    writer.write(writer.get_extra_info("sockname")[0].encode() + b"\n" + whole)
    writer.close()


async def test_what_is_opened_before_the_go_away_arrives_is_served_by_another_pod() -> None:
    async with replicas() as pods:
        pods.answer(*pods.ends, affinity=3600)
        host = await pods.ask()
        ending = pods.at(host)
        application, redirected = socket.socketpair()
        redirected.setblocking(False)
        ending.inbound.draining = True
        ending.mesh.drain("shutting_down")
        # The go-away is under way, and the client has not read it: it has a tunnel, and affinity leads there.
        pods.client.outbound.accepted(redirected, "127.0.0.1", 40_000)
        assert pods.client.outbound.relays, "it is on the tunnel"
        reader, writer = await asyncio.open_connection(sock=application)
        assert (await reader.readline()).decode().strip() in set(HOSTS) - {host}
        writer.close()
        assert await ending.closed.get() == "drained"
        assert await pods.client.closed.get() == "drained"


@pytest.mark.parametrize("size", [0, 1, 100_000])
async def test_a_request_that_is_moved_arrives_once_and_whole_with_its_end(size: int) -> None:
    async with replicas(handler=echo_all) as pods:
        pods.answer(*pods.ends, affinity=3600)
        host, _ = await pods.request(b"")
        pods.at(host).inbound.draining = True
        request = bytes(at * 31 >> 3 & 255 for at in range(size))
        where, got = await pods.request(request)
        assert (where in set(HOSTS) - {host}, got == request) == (True, True)
        refused = [await pods.at(host).ended.next() for _ in range(2)][1]
        assert (refused.reason, refused.bytes_in) == ("shutting_down", 0)
        moved = [await pods.client.ended.next() for _ in range(2)][1]
        assert (moved.bytes_out, moved.refused, moved.reason) == (size, False, "ok")
        assert backlog.POD.held == 0


@pytest.mark.parametrize("size", [0, 100_000])
async def test_a_request_to_a_pod_whose_application_has_closed_its_port_is_served_by_another_one(size: int) -> None:
    async with replicas(handler=echo_all, listening=HOSTS[2:]) as pods:
        request = bytes(at * 31 >> 3 & 255 for at in range(size))
        for _ in range(20):
            assert await pods.request(request) == (HOSTS[2], request)
            ended = await pods.client.ended.next()
            assert (ended.bytes_out, ended.refused, ended.reason) == (size, False, "ok")
        refused = await pods.servers[0].ended.next()
        assert (refused.reason, refused.bytes_in) == ("connection_refused", 0)
        assert pods.client.failures == [], "the pods are not left out: another port of theirs may be served"
        assert backlog.POD.held == 0


async def test_where_no_application_listens_each_pod_is_asked_once_and_the_connection_refused() -> None:
    async with replicas(listening=()) as pods:
        assert await is_reset(pods.client.listener.port)
        ended = await pods.client.ended.next()
        assert (ended.refused, ended.reason) == (True, "connection_refused")
        assert [each.ended.connections.qsize() for each in pods.servers] == [1, 1, 1]
        assert backlog.POD.held == 0


async def test_more_than_is_kept_of_a_request_is_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_relay, "KEPT_BYTES", 10)
    async with replicas(handler=echo_all) as pods:
        for each in pods.servers:
            each.inbound.draining = True
        pods.client.outbound.accepted(*with_bytes(b"x" * 11))
        ended = await pods.client.ended.next()
        assert (ended.refused, ended.reason) == (True, "shutting_down")
        assert len([each for each in pods.servers if not each.ended.connections.empty()]) == 1, "asked one pod"
        assert backlog.POD.held == 0


async def test_when_every_pod_ends_a_connection_is_refused_with_that_reason() -> None:
    async with replicas() as pods:
        for each in pods.servers:
            each.inbound.draining = True
        assert await is_reset(pods.client.listener.port)
        ended = await pods.client.ended.next()
        assert (ended.refused, ended.reason) == (True, "shutting_down")
        assert sum(each.ended.connections.qsize() for each in pods.servers) == len(HOSTS), "each was asked once"
        assert backlog.POD.held == 0


async def test_a_connection_whose_server_died_without_an_answer_is_not_made_again() -> None:
    async with replicas() as pods, AsyncExitStack() as stack:
        port = free_port()
        for host in HOSTS:
            full = stack.enter_context(socket.create_server((host, port), backlog=0))
            for _ in range(2):
                filler = stack.enter_context(closing(socket.socket()))
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
        pods.answer(*(replace(each, port=port) for each in pods.ends))
        reader, writer = await pods.client.dial()
        writer.write(b"once")
        while not (asked := [each for each in pods.servers if any(t.open_streams for t in each.mesh.registry)]):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        asked[0].mesh.close("killed")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        assert (await pods.client.ended.next()).reason == "tunnel_closed"
        assert [len(each.mesh.registry) for each in pods.servers] == [0, 0, 0], "nobody else was asked"


async def test_a_handshake_that_ends_while_its_server_drains_is_told_so() -> None:
    async with replicas() as pods:
        ending = pods.servers[0]
        ending.inbound.draining = True
        ending.mesh.drain("shutting_down")
        pods.answer(*pods.ends[:2])
        assert set(await pods.ask_often(20)) == {HOSTS[1]}
        assert await pods.client.closed.get() == "drained"
        assert pods.client.failures == []


def with_bytes(request: bytes) -> tuple[socket.socket, str, int]:
    """A redirected connection whose application has sent these bytes, and waits."""
    application, redirected = socket.socketpair()
    application.sendall(request)
    redirected.setblocking(False)
    application.detach()
    return redirected, "127.0.0.1", 40_000
