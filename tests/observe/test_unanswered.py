"""An application that refuses: the sidecar's log says why, and a flood of refusals does not make it look each time."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from handfast_sidecar.observe.proc_net import TcpSocket
from handfast_sidecar.observe.unanswered import AGAIN_S, MAX_TOLD, PACE_S, Unanswered, explain
from support.mesh import HOST, application, echo, free_port, is_reset, mesh

POD = "10.0.0.7"
POD6 = "fd00::7"


def on(*addresses: str, port: int = 8080) -> list[TcpSocket]:
    return [TcpSocket(address, port, listening=True, uid=1000, inode=1) for address in addresses]


@pytest.mark.parametrize(
    ("dialled", "found", "reason", "words"),
    [
        (POD, [], "nobody_listens", "targetPort"),
        (POD, on("0.0.0.0", port=9090), "nobody_listens", "port 8080"),
        (POD, on("127.0.0.1"), "loopback_only", "listen on 0.0.0.0 or on 10.0.0.7"),
        (POD, on("127.0.0.1", "::1"), "loopback_only", "127.0.0.1 and ::1 only"),
        (POD, on("127.9.9.9"), "loopback_only", "127.9.9.9"),
        (POD6, on("::1"), "loopback_only", "listen on :: or on fd00::7"),
        (POD, on("10.0.0.8"), "other_address", "10.0.0.8, but 10.0.0.7"),
        (POD, on("::"), "other_address", "of ::, but 10.0.0.7"),
        (POD6, on("0.0.0.0"), "other_address", "of 0.0.0.0, but fd00::7"),
        (POD, on("127.0.0.1", "10.0.0.8"), "other_address", "10.0.0.8 and 127.0.0.1"),
    ],
)
def test_a_refusal_is_explained_by_who_listens(dialled: str, found: list[TcpSocket], reason: str, words: str) -> None:
    explained = explain(dialled, 8080, found)
    assert explained is not None
    assert explained.reason == reason
    assert words in explained.sentence


@pytest.mark.parametrize("place", ["0.0.0.0", POD])
def test_one_who_listens_by_now_is_not_accused(place: str) -> None:
    assert explain(POD, 8080, on("127.0.0.1", place)) is None


def test_a_connection_on_the_port_is_no_listener() -> None:
    connected = TcpSocket(POD, 8080, listening=False, uid=1000, inode=1)
    explained = explain(POD, 8080, [connected])
    assert explained is not None
    assert explained.reason == "nobody_listens"


def test_in_explicit_mode_loopback_is_right_and_the_declaration_is_missing() -> None:
    explained = explain(POD, 8080, on("127.0.0.1"), redirected=False)
    assert explained is not None
    assert (explained.reason, "add containerPort 8080" in explained.sentence) == ("loopback_only", True)


class Rig:
    def __init__(self) -> None:
        self.now, self.looks, self.found = 1000.0, 0, on("127.0.0.1")
        self.unanswered = Unanswered(self.look, lambda: self.now)

    def look(self) -> Iterator[TcpSocket]:
        self.looks += 1
        return iter(self.found)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [
        (record.__dict__["port"], record.__dict__["reason"])
        for record in caplog.records
        if record.message == "the application does not accept connections"
    ]


@pytest.mark.parametrize("ports", [1, 10_000])
def test_a_flood_is_looked_at_once_a_second(ports: int) -> None:
    rig = Rig()
    for number in range(10_000):
        rig.now += 0.001
        rig.unanswered.refused(POD, number % ports)
    assert rig.looks <= 10 / PACE_S + 1


def test_the_same_is_told_of_a_port_once_in_five_minutes(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    start = rig.now
    while rig.now < start + AGAIN_S:
        rig.unanswered.refused(POD, 8080)
        rig.now += PACE_S
    assert told(caplog) == [(8080, "loopback_only")]
    rig.unanswered.refused(POD, 8080)
    assert told(caplog) == [(8080, "loopback_only")] * 2


def test_an_application_that_was_not_up_and_then_listens_on_loopback_is_told_of_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    for rig.found in ([], on("127.0.0.1")):
        rig.unanswered.refused(POD, 8080)
        rig.now += PACE_S
    assert told(caplog) == [(8080, "nobody_listens"), (8080, "loopback_only")]


def test_no_more_is_remembered_than_may_be(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.found = []
    for port in range(int(AGAIN_S)):
        rig.unanswered.refused(POD, port)
        rig.now += PACE_S
    assert len(told(caplog)) == MAX_TOLD < rig.looks


def test_a_port_that_was_only_just_opened_may_be_told_of_later(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.found = on(POD)
    rig.unanswered.refused(POD, 8080)
    assert told(caplog) == []
    rig.found = []
    rig.now += PACE_S
    rig.unanswered.refused(POD, 8080)
    assert told(caplog) == [(8080, "nobody_listens")]


async def test_a_stream_to_an_application_on_another_loopback_address_alone_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.2", 0)) as elsewhere:
        port = elsewhere.getsockname()[1]
        async with mesh(port) as (client, server):
            server.inbound.unanswered = Unanswered().refused
            assert await is_reset(client.listener.port)
            assert (await server.ended.next()).reason == "connection_refused"
    assert told(caplog) == [(port, "loopback_only")]


async def test_plaintext_to_a_port_where_nobody_listens_says_so(caplog: pytest.LogCaptureFixture) -> None:
    from handfast_sidecar.policy.effective import EffectivePolicy

    async with mesh(1, policy=EffectivePolicy()) as (_client, server):
        port = free_port()
        server.plain_destination = (HOST, port)
        server.inbound.unanswered = Unanswered().refused
        assert await is_reset(server.plain_listener.port)
    assert told(caplog) == [(port, "nobody_listens")]


async def test_a_connection_that_is_accepted_makes_nobody_look() -> None:
    asked: list[tuple[str, int]] = []
    async with application(echo) as port, mesh(port) as (client, server):
        server.inbound.unanswered = lambda *place: asked.append(place)
        reader, writer = await client.dial()
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), 10) == b"hello"
        writer.close()
    assert asked == []
