"""A peer's stream until its application has accepted: preface, verdict, dial; then it is a relay like any other.

Nothing here waits in a task: a new connection is a frame and one connect.
"""

import socket
from typing import TYPE_CHECKING, Final

from handfast_sidecar.errors import BadFrame
from handfast_sidecar.loop import poller
from handfast_sidecar.loop.poller import WRITE
from handfast_sidecar.policy.verdict import Verdict
from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.dial import check_connected
from handfast_sidecar.traffic.judge import Judge
from handfast_sidecar.traffic.relay import Relay
from handfast_sidecar.traffic.sockets import start_connect
from handfast_sidecar.tunnel import preface
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.frames import Flag
from handfast_sidecar.tunnel.preface import Preface
from handfast_sidecar.tunnel.reasons import Reason
from handfast_sidecar.tunnel.stream import Stream

if TYPE_CHECKING:
    from handfast_sidecar.traffic.inbound import Inbound


_BY_POLICY: Final = (Reason.DENIED, Reason.RESERVED_PORT)
"""What the verdict has a sentence for."""


class ServerStream:
    """Collects what comes before the application is there; a `StreamSink`."""

    __slots__ = (
        "_ended",
        "_inbound",
        "_over",
        "_pending",
        "_poller",
        "_sock",
        "_stream",
        "_tunnel",
        "connection",
    )

    def __init__(self, inbound: "Inbound", tunnel: Tunnel, stream: Stream) -> None:
        self._inbound, self._tunnel, self._stream = inbound, tunnel, stream
        self._poller = poller.current()
        self._pending = bytearray()
        self._sock: socket.socket | None = None
        self._ended = self._over = False
        self.connection = Connection("in", tunnel.peer_address, 0, "", 0, peer=tunnel.peer.spiffe_id, tunnel=tunnel)
        inbound.prefaces.add(self._no_preface)

    def data(self, view: memoryview) -> None:
        if self._over:
            return
        self._pending += view
        if self._sock is not None:
            return  # bounded by the stream's window: nothing is credited before the application is there
        try:
            parsed = preface.parse(self._pending)
        except BadFrame:
            self._refuse(Reason.BAD_PREFACE)
            return
        if parsed is not None:
            header, length = parsed
            self._inbound.prefaces.discard(self._no_preface)
            self._stream.credit(length, keeps_up=True)
            del self._pending[:length]
            self._dial(header)

    def end(self) -> None:
        self._ended = True
        if self._sock is None and not self._over:
            self._refuse(Reason.BAD_PREFACE)

    def aborted(self) -> None:
        self._finish(self.connection.broken("peer_aborted"))

    def resume(self) -> None:
        """Nothing is sent before the answer."""

    def _dial(self, header: Preface) -> None:
        connection = self.connection
        # The tunnel proves where its peer is; a preface that says otherwise is corrected.
        connection.source = self._tunnel.peer_address
        connection.source_port = header.source_port
        connection.destination, connection.destination_port = header.destination, header.destination_port
        reason, verdict = self._inbound.judge(self._tunnel, header)
        connection.rule = verdict.rule
        if reason is not Reason.CONNECTED:
            if reason in _BY_POLICY:
                connection.detail = verdict.sentence
            self._refuse(reason)
            return
        if verdict.audited:
            self._inbound.judgement.settle(connection, verdict)
        over = self._inbound.limits.over(connection)
        if over is not None:
            connection.detail = over.sentence
            self._refuse(Reason.LIMIT, over.reason)
            return
        self._connect(header.destination)

    def _connect(self, address: str) -> None:
        """Dial the application at one of the pod's addresses."""
        try:
            self._sock, connected = start_connect(address, self.connection.destination_port)
        except OSError:
            self._not_listening()
            return
        if connected:
            self._relay(self._sock)
        else:
            self._inbound.dialling.add(self)
            self._inbound.dials.add(self._unreachable)
            self._poller.watch(self._sock.fileno(), WRITE, self._writable)

    def _writable(self, _events: int) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            check_connected(sock)
        except OSError:
            self._not_listening()
            return
        self._inbound.dials.discard(self._unreachable)
        self._relay(sock)

    def look_again(self, judge: Judge) -> None:
        """The policy changed while the application let it wait."""
        if self in self._inbound.dialling:
            judge.again(self.connection, self._forbid)

    def _forbid(self, verdict: Verdict) -> None:
        self.connection.rule, self.connection.detail = verdict.rule, verdict.sentence
        self._refuse(Reason.DENIED)

    def _relay(self, sock: socket.socket) -> None:
        waited = self._inbound.dialling
        if waited and self in waited:
            # The policy may have changed meanwhile, and the round that it began has missed this one.
            self.look_again(self._inbound.judgement)
            if self._over:
                return
            waited.discard(self)
        self._over = True
        stream = self._stream
        stream.send(bytes([Reason.CONNECTED]), Flag.ACK)
        relay = Relay(sock, stream, self.connection, self._inbound.stream_over)
        stream.sink = relay
        self._inbound.connected(relay)
        relay.start()
        if self.connection.destination_port in self._inbound.proxy_protocol_ports:
            relay.greet(self._inbound.header(self.connection))
        if self._pending:
            relay.data(memoryview(self._pending))
        if self._ended:
            relay.end()

    def _no_preface(self) -> None:
        self._refuse(Reason.BAD_PREFACE)

    def _not_listening(self) -> None:
        self._refuse(Reason.CONNECTION_REFUSED)

    def _unreachable(self) -> None:
        self._refuse(Reason.UNREACHABLE)

    def _refuse(self, reason: Reason, word: str = "") -> None:
        """Answer the peer with a reason; `word` is what is told here, where that is more exact."""
        if self._over:
            return
        self.connection.refused = True
        if reason is Reason.CONNECTION_REFUSED:
            self._inbound.unanswered(self.connection.destination, self.connection.destination_port)
        self._stream.send(bytes([reason]), Flag.ACK)
        self._stream.finish()
        self._finish(word or reason.word)

    def _finish(self, reason: str) -> None:
        if self._over:
            return
        self._over = True
        self._pending.clear()
        self._inbound.prefaces.discard(self._no_preface)
        self._inbound.dials.discard(self._unreachable)
        self._inbound.dialling.discard(self)
        if self._sock is not None:
            self._poller.closing(self._sock.fileno())
            self._sock.close()
        self.connection.reason = reason
        self._inbound.over(self.connection)
