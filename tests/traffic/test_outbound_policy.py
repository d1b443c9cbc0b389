"""`outbound` of a policy on real sockets: what is refused, that its client is told why, and no way around it."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest

from handfast_sidecar.config.upstreams import Upstream
from handfast_sidecar.directory.messages import (
    AddressAnswer,
    Endpoint,
    NobodyAddress,
    PodAddress,
    ServiceAddress,
    Transport,
)
from handfast_sidecar.policy.effective import EffectivePolicy, Enforcement, EnforcementRule
from handfast_sidecar.policy.outgoing import Exempt, OutboundPolicy, Outgoing, OutgoingRule
from handfast_sidecar.traffic import asking
from handfast_sidecar.traffic.explicit import Upstreams
from handfast_sidecar.traffic.listener import Listener
from support.mesh import HOST, SERVER_ID, Client, application, echo, free_port, is_reset, mesh

ORIGIN = "MTLSPolicy shop/carts"
REFUSE = OutgoingRule(Outgoing.REFUSE, ORIGIN)
BOTH = OutboundPolicy(REFUSE, REFUSE)
POD = PodAddress(HOST, "shop/db-0", "uid")
UNKNOWN, PLAINTEXT = "outbound_unknown_refused", "outbound_plaintext_refused"


def service(port: int) -> ServiceAddress:
    return ServiceAddress(HOST, "shop/db", {port: (Endpoint(HOST, port),)})


@asynccontextmanager
async def dialling(answer: AddressAnswer | str | None, rules: OutboundPolicy) -> AsyncIterator[Client]:
    """A client's sidecar before an application that echoes; `service`: its port is a Service's."""
    async with application(echo) as port, mesh(port) as (client, _server):
        client.outbound.asked.in_cluster = lambda _address: False
        told = service(port) if isinstance(answer, str) else answer
        client.directory.known_answers = {HOST: told} if told is not None else {}
        client.directory.connected = told is not None
        client.policy.offer(EffectivePolicy(outbound=rules), 2)
        yield client


async def echoes(client: Client) -> bool:
    reader, writer = await client.dial()
    writer.write(b"ping")
    try:
        return await asyncio.wait_for(reader.readexactly(4), 10) == b"ping"
    finally:
        writer.close()


DESTINATIONS = pytest.mark.parametrize(
    ("answer", "reason", "named"),
    [
        (POD, PLAINTEXT, "the pod shop/db-0"),
        ("service", PLAINTEXT, "the Service shop/db"),
        (NobodyAddress(HOST), UNKNOWN, "no pod and of no Service"),
        (None, UNKNOWN, "no handfast-directory"),
    ],
    ids=["a pod", "a Service", "nobody's", "the directory is away"],
)


@DESTINATIONS
async def test_what_the_policy_refuses_is_reset_and_the_pods_own_log_says_why(
    answer: AddressAnswer | str | None, reason: str, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with dialling(answer, BOTH) as client:
        with caplog.at_level(logging.WARNING, "handfast_sidecar.traffic.outbound"):
            assert await is_reset(client.listener.port)
        ended = await client.ended.next()
        assert (ended.refused, ended.reason, ended.rule) == (True, reason, ORIGIN)
        [record] = caplog.records
        said = record.__dict__
        assert (said["reason"], said["rule"], said["destination"]) == (
            reason,
            ORIGIN,
            f"{HOST}:{client.destination[1]}",
        )
        assert named in said["detail"]
        assert "outbound.except" in said["detail"]


@DESTINATIONS
async def test_the_other_word_does_not_refuse_it(answer: AddressAnswer | str | None, reason: str, named: str) -> None:
    rules = OutboundPolicy(unknown=REFUSE) if reason == PLAINTEXT else OutboundPolicy(plaintext=REFUSE)
    async with dialling(answer, rules) as client:
        assert await echoes(client), named


async def test_an_exception_is_reached() -> None:
    async with dialling("service", BOTH) as client:
        assert await is_reset(client.listener.port)
        for number, exempt in enumerate((Exempt(service="shop/db"), Exempt(ip_network(f"{HOST}/32")))):
            rules = OutboundPolicy(REFUSE, REFUSE, (exempt,))
            client.policy.offer(EffectivePolicy(outbound=rules), 3 + number)
            assert await echoes(client)


async def test_tunnels_are_nobodys_affair() -> None:
    async with application(echo) as port, mesh(port) as (client, _server):
        client.policy.offer(EffectivePolicy(outbound=BOTH), 2)
        assert await echoes(client)
        assert (await client.ended.next()).tunnel is not None


@DESTINATIONS
async def test_audit_lets_it_pass_and_tells_of_it(answer: AddressAnswer | str | None, reason: str, named: str) -> None:
    async with dialling(answer, BOTH) as client:
        audit = EffectivePolicy(outbound=BOTH, enforcement=EnforcementRule(Enforcement.AUDIT, ORIGIN))
        client.policy.offer(audit, 3)
        assert await echoes(client), named
        client.outbound.rejudge()
        ended = await client.ended.next()
        assert (ended.refused, ended.reason, ended.audited, ended.rule) == (False, "ok", reason, ORIGIN)


@DESTINATIONS
async def test_a_policy_that_changes_ends_what_it_refuses(
    answer: AddressAnswer | str | None, reason: str, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with dialling(answer, OutboundPolicy()) as client:
        reader, writer = await client.dial()
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        client.policy.offer(EffectivePolicy(), 3)
        client.outbound.rejudge()
        writer.write(b"more")
        assert await reader.readexactly(4) == b"more"
        client.directory.known_answers.clear()  # the book forgets what nobody dials
        client.policy.offer(EffectivePolicy(outbound=BOTH), 4)
        client.outbound.rejudge()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        ended = await client.ended.next()
        assert (ended.refused, ended.reason, ended.rule) == (False, "policy_changed", ORIGIN)
        assert named in ended.detail
        [record] = [each for each in caplog.records if each.name == "handfast_sidecar.traffic.live"]
        assert record.__dict__["detail"] == ended.detail
        assert not client.outbound._plaintext._open
        writer.close()


async def test_a_change_ends_nothing_but_what_it_refuses() -> None:
    async with application(echo) as port, mesh(port) as (client, _server):
        by_tunnel = await client.dial()
        client.directory.known_answers[HOST] = POD
        to_a_pod = await client.dial()
        for reader, writer in (by_tunnel, to_a_pod):
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
        client.policy.offer(EffectivePolicy(outbound=OutboundPolicy(unknown=REFUSE)), 2)
        client.outbound.rejudge()
        for reader, writer in (by_tunnel, to_a_pod):
            writer.write(b"more")
            assert await reader.readexactly(4) == b"more"
        client.policy.offer(EffectivePolicy(outbound=BOTH), 3)
        client.outbound.rejudge()
        with pytest.raises(ConnectionResetError):
            await to_a_pod[0].read()
        by_tunnel[1].write(b"last")
        assert await by_tunnel[0].readexactly(4) == b"last"
        for _reader, writer in (by_tunnel, to_a_pod):
            writer.close()


async def test_a_connection_that_is_dialling_when_the_policy_changes_is_refused() -> None:
    async with dialling(POD, OutboundPolicy()) as client:
        port = free_port()
        client.destination = (HOST, port)
        with socket.socket() as full:
            full.bind((HOST, port))
            full.listen(0)
            filler = [socket.socket() for _ in range(2)]
            for each in filler:
                each.setblocking(False)
                each.connect_ex((HOST, port))
            reader, writer = await client.dial()
            while not client.outbound._waiting:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
            client.policy.offer(EffectivePolicy(outbound=BOTH), 3)
            client.outbound.rejudge()
            accepted = [full.accept()[0]]
            full.settimeout(10)
            accepted.append((await asyncio.to_thread(full.accept))[0])  # when the kernel dials again
            with pytest.raises(ConnectionResetError):
                await reader.read()
            assert (await client.ended.next()).reason == PLAINTEXT
            writer.close()
            for each in (*filler, *accepted):
                each.close()


async def test_of_a_service_with_both_kinds_only_endpoints_with_a_sidecar_are_used() -> None:
    async with application(echo) as port, mesh(port) as (client, server):
        meshed = Endpoint(HOST, port, Transport.TUNNEL, SERVER_ID, "uid")
        bare = tuple(Endpoint(f"127.0.0.{number}", port) for number in range(2, 6))
        client.directory.known_answers[HOST] = ServiceAddress(HOST, "shop/orders", {port: (*bare, meshed)})
        client.policy.offer(EffectivePolicy(outbound=OutboundPolicy(plaintext=REFUSE)), 2)
        for _ in range(20):
            assert await echoes(client)
            assert (await client.ended.next()).tunnel is not None
        server.close()
        client.pool.close("gone")
        assert await is_reset(client.listener.port)
        ended = await client.ended.next()
        assert ended.refused
        assert ended.reason.startswith("handshake_"), "what fails is not tried in plaintext"


async def test_an_address_of_the_cluster_that_is_nobodys_is_given_its_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SETTLE_S", 0.0)
    async with dialling(NobodyAddress(HOST), BOTH) as client:
        client.outbound.asked.in_cluster = lambda _address: True
        assert await is_reset(client.listener.port)
        assert (await client.ended.next()).reason == UNKNOWN


async def test_an_upstream_that_is_declared_goes_out_by_the_same_policy() -> None:
    async with dialling(POD, BOTH) as client:
        local = free_port()
        ours = Upstreams([Upstream(local, HOST, client.destination[1])], client.outbound, lambda: client.who)
        listener = Listener("upstreams", ours.listen(), 16, ours.accepted)
        assert await is_reset(local)
        ended = await client.ended.next()
        assert (ended.reason, ended.rule) == (PLAINTEXT, ORIGIN)
        listener.close()
