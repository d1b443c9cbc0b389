"""Connections that reach this pod: streams of authenticated peers, and plaintext where the policy still lets it in.

A sidecar is no open relay: it connects to its own pod's addresses alone, and never to its own ports.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from handfast_sidecar.loop.deadlines import Deadlines
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.verdict import Verdict, plaintext_verdict, tunnel_verdict
from handfast_sidecar.traffic.connection import Connection, Journal
from handfast_sidecar.traffic.dial import dial
from handfast_sidecar.traffic.original_destination import original_destination
from handfast_sidecar.traffic.plain import PlainRelay
from handfast_sidecar.traffic.relay import Relay
from handfast_sidecar.traffic.server_stream import ServerStream
from handfast_sidecar.traffic.sockets import abort
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.preface import Preface
from handfast_sidecar.tunnel.reasons import Reason
from handfast_sidecar.tunnel.stream import Stream, StreamSink

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
        *,
        destination_of: Callable[[socket.socket, str], tuple[str, int]] = original_destination,
    ) -> None:
        self._policy = policy
        self._pod_ips = pod_ips
        self._trust_domain = trust_domain
        self._journal = journal
        self._destination_of = destination_of
        self._waiting: set[asyncio.Task[None]] = set()
        self.relays: set[Relay | PlainRelay] = set()
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
        port = preface.destination_port
        verdict = tunnel_verdict(self._policy.policy, tunnel.peer.spiffe_id, self._trust_domain(), port)
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
        verdict = plaintext_verdict(self._policy.policy, port)
        if address not in self._pod_ips:
            verdict = Verdict(False, verdict.rule, "not_local", f"{address} is not an address of this pod")
        connection.rule = verdict.rule
        if not verdict.allowed:
            self._refuse(sock, connection, verdict.reason, verdict.sentence)
            return
        task = asyncio.create_task(self._pass_on(sock, connection))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def stop(self, reason: str) -> None:
        """End every connection."""
        for task in list(self._waiting):
            task.cancel()
        for relay in list(self.relays):
            relay.stop(reason)

    def connected(self, relay: Relay | PlainRelay) -> None:
        """A connection has its application."""
        self.relays.add(relay)
        self._journal.connection_opened(relay.connection)

    def stream_over(self, relay: Relay) -> None:
        """A connected stream ended."""
        self.relays.discard(relay)
        self.over(relay.connection)

    def over(self, connection: Connection) -> None:
        """A stream ended, connected or refused."""
        if connection.tunnel is not None:
            connection.tunnel.stream_ended()
        self._journal.connection_over(connection)

    async def _pass_on(self, sock: socket.socket, connection: Connection) -> None:
        try:
            target = await dial(connection.destination, connection.destination_port, APP_DIAL_TIMEOUT_S)
        except OSError as error:
            self.unanswered(connection.destination, connection.destination_port)
            self._refuse(
                sock, connection, Reason.CONNECTION_REFUSED.word, f"the application: {error.strerror or error}"
            )
        except BaseException:
            self._refuse(sock, connection, "internal", "the proxy stopped while it was connecting")
            raise
        else:
            relay = PlainRelay(sock, target, connection, self._plain_over)
            self.connected(relay)
            relay.start()

    def _plain_over(self, relay: PlainRelay) -> None:
        self.relays.discard(relay)
        self.released()
        self._journal.connection_over(relay.connection)

    def _refuse(self, sock: socket.socket, connection: Connection, reason: str, sentence: str) -> None:
        log.warning(
            "inbound connection refused",
            extra={
                "source": connection.source,
                "port": connection.destination_port,
                "reason": reason,
                "detail": sentence,
            },
        )
        abort(sock)
        connection.refused, connection.reason = True, reason
        self.released()
        self._journal.connection_over(connection)
