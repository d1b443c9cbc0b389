"""Connections that reach this pod: streams of authenticated peers, and plaintext where the policy still lets it in.

A sidecar is no open relay: it connects to its own pod's addresses alone, and never to its own ports.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Final

from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.loop.deadlines import Deadlines
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.verdict import Verdict
from handfast_sidecar.traffic.connection import OK, Connection, Journal
from handfast_sidecar.traffic.dial import dial
from handfast_sidecar.traffic.judge import Judge, OnItsWay, Waiting
from handfast_sidecar.traffic.limits import ConnectionLimits
from handfast_sidecar.traffic.live import Live
from handfast_sidecar.traffic.original_destination import original_destination
from handfast_sidecar.traffic.plain import PlainRelay, foreign_issuers
from handfast_sidecar.traffic.proxy_header import Caller, proxy_header
from handfast_sidecar.traffic.relay import Relay
from handfast_sidecar.traffic.server_stream import ServerStream
from handfast_sidecar.traffic.sockets import abort
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.preface import Preface
from handfast_sidecar.tunnel.reasons import Reason
from handfast_sidecar.tunnel.stream import Stream, StreamSink

if TYPE_CHECKING:
    from handfast_sidecar.traffic.foreign import ForeignPort

log = logging.getLogger(__name__)

APP_DIAL_TIMEOUT_S: Final = 5.0
"""Seconds for this pod's own application to accept."""
PREFACE_TIMEOUT_S: Final = 10.0
"""Seconds from a stream's first frame to its complete preface."""


class Inbound:
    """Judges what arrives and connects it to the application."""

    def __init__(
        self,
        policy: PolicyInForce,
        pod_ips: frozenset[str],
        trust_domain: Callable[[], str],
        journal: Journal,
        identity: Callable[[], Identity],
        *,
        standing: Standing | None = None,
        proxy_protocol_ports: frozenset[int] = frozenset(),
        destination_of: Callable[[socket.socket, str], tuple[str, int]] = original_destination,
    ) -> None:
        self._policy = policy
        self._pod_ips = pod_ips
        self._journal = journal
        self.proxy_protocol_ports = proxy_protocol_ports
        """On these the application is told who calls."""
        self._destination_of = destination_of
        self._identity = identity
        self.standing = standing or Standing(identity)
        self._foreign: ForeignPort | None = None
        self._waiting: dict[asyncio.Task[None], Waiting] = {}
        self._live: Live[Relay | PlainRelay | OnItsWay] = Live(self._living, self._look_again, next_end=self._next_end)
        self.judgement = Judge(policy, trust_domain, journal.connection_audited)
        self.relays: set[Relay | PlainRelay] = set()
        self.dialling: set[ServerStream] = set()
        """Streams whose application lets them wait."""
        self.limits = ConnectionLimits(policy, self.relays, self.judgement.settle)
        self.draining = False
        self.released: Callable[[], None] = lambda: None
        self.unanswered: Callable[[str, int], None] = lambda _address, _port: None
        """Called with the address and port of each dial that the application refused."""
        self.prefaces = Deadlines(PREFACE_TIMEOUT_S)
        self.dials = Deadlines(APP_DIAL_TIMEOUT_S)

    def stream(self, tunnel: Tunnel, stream: Stream) -> StreamSink:
        """A peer opened a stream: its preface says what it wants."""
        return ServerStream(self, tunnel, stream)

    def judge(self, tunnel: Tunnel, preface: Preface) -> tuple[Reason, Verdict]:
        """Whether a stream may connect, and what it is answered with."""
        verdict = self.judgement.stream(tunnel.peer, preface.destination_port)
        if self.draining:
            return Reason.SHUTTING_DOWN, verdict
        if preface.destination not in self._pod_ips:
            return Reason.NOT_LOCAL, verdict
        if not verdict.allowed:
            return Reason.RESERVED_PORT if verdict.reason == "reserved_port" else Reason.DENIED, verdict
        return Reason.CONNECTED, verdict

    def plaintext(self, sock: socket.socket, source: str, source_port: int) -> None:
        """A redirected plaintext connection."""
        try:
            address, port = self._destination_of(sock, source)
        except OSError:
            abort(sock)
            self.released()
            return
        connection = Connection("in", source, source_port, address, port)
        foreign = self._policy.policy.foreign
        if port in foreign.ports and address in self._pod_ips:
            connection.rule = foreign.origin
            self._foreign_port().accepted(sock, connection)
        else:
            self.pass_plain(sock, connection)

    def _foreign_port(self) -> "ForeignPort":
        """Most pods have no such port, so its modules are loaded for the first connection to one."""
        if self._foreign is None:
            from handfast_sidecar.traffic.foreign import ForeignPort  # noqa: PLC0415

            self._foreign = ForeignPort(self, self._identity, self._policy)
        return self._foreign

    def pass_plain(self, sock: socket.socket, connection: Connection) -> None:
        """Judge a plaintext connection and connect it."""
        verdict = self.judgement.verdict(connection)
        if connection.destination not in self._pod_ips:
            sentence = f"{connection.destination} is not an address of this pod"
            verdict = Verdict(False, verdict.rule, "not_local", sentence)
        connection.rule = verdict.rule
        if not verdict.allowed:
            self.refuse(sock, connection, verdict.reason, verdict.sentence)
            return
        self.judgement.settle(connection, verdict)
        over = self.limits.over(connection)
        if over is not None:
            self.refuse(sock, connection, over.reason, over.sentence)
            return
        self.start(self._pass_on(sock, connection), connection)

    def judge_peer(self, connection: Connection) -> Verdict:
        """Whether the connection of a foreign peer, who has proven who he is, may reach the application."""
        verdict = self.judgement.verdict(connection)
        if self.draining:
            verdict = Verdict(False, verdict.rule, Reason.SHUTTING_DOWN.word, "the pod is ending")
        connection.rule = verdict.rule
        if not verdict.allowed:
            return verdict
        self.judgement.settle(connection, verdict)
        return self.limits.over(connection) or verdict

    def _ended(self, connection: Connection) -> None:
        if self.limits.following:
            self.limits.ended(connection)
        self._journal.connection_over(connection)

    def rejudge(self) -> None:
        """Judge every connection again: the policy has changed, or what else a verdict depends on.

        What is carried and forbidden now ends within a second, with the reason `policy_changed`; what is on its way is
        refused.
        """
        self._live.start()

    def look_again(self) -> None:
        """End the foreign peers' connections of whom there is something against now; tunnels have their own."""
        for relay in list(self.relays):
            if isinstance(relay, PlainRelay):
                relay.hold_against(self.standing)

    def issuers(self) -> Iterator[tuple[str, ...]]:
        """Whose signatures the connections of foreign peers rest on."""
        if self._foreign is not None:
            yield from foreign_issuers(self.relays)

    def _next_end(self, now: float) -> float | None:
        allow = self._policy.policy.allow
        return allow.next_expiry(now) if allow is not None else None

    def _living(self) -> list[Relay | PlainRelay | OnItsWay]:
        unheard = self._foreign.waiting if self._foreign is not None else ()
        return [*self.relays, *self.dialling, *self._waiting.values(), *unheard]

    def _look_again(self, living: Relay | PlainRelay | OnItsWay) -> None:
        if not isinstance(living, Relay | PlainRelay):
            living.look_again(self.judgement)
        elif living in self.relays:
            self.judgement.again(
                living.connection, lambda verdict: self._live.end(living, verdict.rule, verdict.sentence)
            )

    def start(self, work: Coroutine[object, object, None], connection: Connection, *, securing: bool = False) -> None:
        """Run what a connection has to wait for, `securing` it first if so said; `stop` ends it."""
        task = asyncio.create_task(work)
        self._waiting[task] = Waiting(connection, task, securing)
        task.add_done_callback(self._waiting.pop)

    def header(self, connection: Connection) -> bytes:
        """What the application is told of a connection, on `proxy_protocol_ports`."""
        tls, peer = connection.tunnel or connection.protection, connection.peer
        caller = Caller(peer, tls.version, tls.cipher) if tls is not None and peer is not None else None
        return proxy_header(
            connection.source, connection.source_port, connection.destination, connection.destination_port, caller
        )

    def stop(self, reason: str) -> None:
        """End every connection."""
        if self._foreign is not None:
            self._foreign.stop()
        for task in list(self._waiting):
            task.cancel()
        for relay in list(self.relays):
            relay.stop(reason)

    def connected(self, relay: Relay | PlainRelay) -> None:
        """A connection has its application."""
        self.relays.add(relay)
        if self.limits.following:
            self.limits.opened(relay.connection)
        self._journal.connection_opened(relay.connection)

    def stream_over(self, relay: Relay) -> None:
        """A connected stream ended."""
        self.relays.discard(relay)
        self.over(relay.connection)

    def over(self, connection: Connection) -> None:
        """A stream ended, connected or refused."""
        if connection.tunnel is not None:
            connection.tunnel.stream_ended()
        self._ended(connection)

    async def _pass_on(self, sock: socket.socket, connection: Connection) -> None:
        target = await self.application(sock, connection)
        if target is not None:
            self.carry(PlainRelay(sock, target, connection, self.plain_over))

    async def application(self, sock: socket.socket, connection: Connection) -> socket.socket | None:
        """A connection to the application for one that was accepted; None when that one had to be refused."""
        try:
            app = await dial(connection.destination, connection.destination_port, APP_DIAL_TIMEOUT_S)
        except OSError as error:
            self.unanswered(connection.destination, connection.destination_port)
            self.refuse(sock, connection, Reason.CONNECTION_REFUSED.word, f"the application: {error.strerror or error}")
            return None
        except BaseException:
            self.given_up(sock, connection, "the proxy stopped while it was connecting")
            raise
        # That may have taken seconds, and nobody is to be carried by a policy that is over.
        verdict = self.judgement.verdict(connection)
        connection.rule = verdict.rule
        if verdict.allowed:
            self.judgement.settle(connection, verdict)
            return app
        app.close()
        self.refuse(sock, connection, verdict.reason, verdict.sentence)
        return None

    def carry(self, relay: PlainRelay) -> None:
        """Both ends of a connection are there."""
        self.connected(relay)
        relay.start()
        if relay.connection.destination_port in self.proxy_protocol_ports:
            relay.greet(self.header(relay.connection))

    def plain_over(self, relay: PlainRelay) -> None:
        """A connection that is on no stream ended."""
        self.relays.discard(relay)
        self.released()
        self._ended(relay.connection)

    def given_up(self, sock: socket.socket, connection: Connection, sentence: str) -> None:
        """Refuse a connection whose task was cancelled: by the policy, or, as the sentence says, with the proxy."""
        if connection.reason == OK:
            self.refuse(sock, connection, "internal", sentence)
        else:
            self.refuse(sock, connection, connection.reason, connection.detail)

    def refuse(self, sock: socket.socket, connection: Connection, reason: str, sentence: str) -> None:
        """Abort a connection, and say why."""
        abort(sock)
        self.refused(connection, reason, sentence)

    def refused(self, connection: Connection, reason: str, sentence: str) -> None:
        """Say why a connection was refused, whose socket is closed."""
        log.warning(
            "inbound connection refused",
            extra={
                "source": connection.source,
                "port": connection.destination_port,
                "reason": reason,
                "detail": sentence,
            },
        )
        connection.refused, connection.reason, connection.detail = True, reason, sentence
        self.released()
        self._ended(connection)
