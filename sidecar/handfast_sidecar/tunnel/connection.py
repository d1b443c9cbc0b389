"""A tunnel: one TLS connection and the time it has to live. It ends once, with a reason; `carrier` moves its bytes."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from handfast_sidecar import __version__
from handfast_sidecar.errors import BadFrame, OtherVersion
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.proof import Proof
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.tunnel import hello
from handfast_sidecar.tunnel.carrier import Carrier
from handfast_sidecar.tunnel.control import ControlSink
from handfast_sidecar.tunnel.footing import Footing
from handfast_sidecar.tunnel.frames import Flag, GoAway
from handfast_sidecar.tunnel.handshake import Secured
from handfast_sidecar.tunnel.hello import BusyNotice, ControlLine, DrainNotice, RenewNotice, TunnelHello
from handfast_sidecar.tunnel.stream import Stream, StreamSink

log = logging.getLogger(__name__)

TICK_S: Final = 4.0
"""Seconds between looks at a silent peer."""
DEAD_AFTER_TICKS: Final = 4
"""Looks at a peer that stays silent, from the second on with a ping, after which it is given up: within 20 s."""
BUSY_SHARE: Final = 0.5
"""Share of the time that a tunnel waits for its socket, from which on it is saturated."""
INTRODUCTION_S: Final = 10.0
"""Seconds that a client has to say hello, once its certificate was accepted."""

AcceptStream = Callable[["Tunnel", Stream], StreamSink | None]


class Tunnel:
    """One side of an established tunnel.

    own     what the peer was shown of us
    accept  takes the streams that the peer opens; None on the client's side, where there are none
    closed  called once, with the reason
    """

    def __init__(
        self,
        secured: Secured,
        own: Proof,
        *,
        accept: AcceptStream | None,
        closed: Callable[["Tunnel", str], None],
        said: Callable[["Tunnel", ControlLine], None] = lambda _tunnel, _line: None,
        clock: Clock = utc_now,
    ) -> None:
        self.peer = secured.peer
        self.peer_address, self.peer_port = secured.sock.getpeername()[:2]
        self.version, self.cipher, self.group = secured.tls.version, secured.tls.cipher, secured.tls.group
        self.id = self.peer_release = ""
        """The tunnel's name, and the peer's version of Handfast: each is known from the peer's first line on."""
        self.draining = False
        """No new streams: the peer is going away, or we are."""
        self.accepted = secured.server
        """Whether the other side took our certificate, which a client learns with the server's first line."""
        self.closed = False
        self.ended, self.detail = "", ""
        """Why it ended, as `close` was told: a metric's label, and a sentence."""
        self.elders: list[Tunnel] = []
        """Older tunnels of the same two pods, which live by our leaves until their last streams end."""
        self.decided = asyncio.Event()
        """Set when it is known whether the other side takes our certificate, or the tunnel is gone."""
        self.established = clock()
        self.footing = Footing(own, secured.proof)
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._accept, self._on_closed, self._on_said = accept, closed, said
        self._busy = self._peer_busy = False
        self._silent_ticks = 0
        self.idle_since = self.began = self._loop.time()
        self._carrier = Carrier(secured, self._opened, broken=self.close, lost=self._lost)
        self.mux = self._carrier.mux
        self._expiry = self._loop.call_later(self._seconds_left(), self._expired)
        self._tick = self._loop.call_later(TICK_S, self._ticked)

    def introduce(self, renews: str = "") -> None:
        """Open the control stream: the client's first act."""
        self.id = hello.new_tunnel_id()
        line = TunnelHello(__version__, self.id, renews).encode()
        self.control = self.mux.open(line, lambda stream: ControlSink(stream, self._said))

    def say(self, line: ControlLine) -> None:
        """Send a line on the control stream, when there is one."""
        if not self.closed and hello.CONTROL_STREAM in self.mux.streams:
            self.mux.streams[hello.CONTROL_STREAM].send(line.encode())

    @property
    def open_streams(self) -> int:
        """Application connections on this tunnel; the control stream is none."""
        return max(0, len(self.mux.streams) - 1)

    @property
    def usable(self) -> bool:
        """Whether a new stream may be opened."""
        return not (self.closed or self.draining or self.mux.peer_going_away or self.mux.exhausted)

    @property
    def saturated(self) -> bool:
        """Whether the connection under it is the bottleneck, in either direction: a second one would help."""
        return self._busy or self._peer_busy

    @property
    def expires(self) -> datetime:
        """When it must end, unless it is renewed before."""
        return self.footing.expires

    def rest_on(self, footing: Footing) -> None:
        """Live by other leaves: both sides have shown them on a tunnel that renews this one."""
        if footing.replaces(self.footing) and not self.closed:
            self.established, self.footing = self._clock(), footing
            self._expiry.cancel()
            self._expiry = self._loop.call_later(self._seconds_left(), self._expired)
        for elder in self.elders:
            elder.rest_on(footing)

    def succeed(self, old: "Tunnel") -> None:
        """Take over from a tunnel and its elders: they carry their streams to the end, while our leaves last."""
        self.elders = [each for each in (*old.elders, old) if not each.closed]
        old.elders = []
        for elder in self.elders:
            elder.rest_on(self.footing)

    @property
    def needed(self) -> bool:
        """Whether it carries streams, or elders live by its leaves."""
        return bool(self.open_streams) or any(not elder.closed for elder in self.elders)

    def drain(self, reason: str) -> None:
        """No new streams from here on; the client ends the tunnel after its last one.

        The client alone knows when it has opened its last: what it opens before it has heard of this is under way to a
        server that must still be there to say that it refuses it.
        """
        if not (self.closed or self.draining):
            self.draining = True
            self.say(DrainNotice(reason))
            self.mux.go_away(GoAway.NORMAL)
            self.stream_ended()

    def stream_ended(self) -> None:
        """A stream is over: note the time, and end a draining tunnel with its last."""
        if not self.open_streams:
            self.idle_since = self._loop.time()
            if (self.mux.peer_going_away or (self.draining and self._accept is None)) and not self.closed:
                self._loop.call_soon(self.close, "drained")

    def hold_against(self, standing: Standing) -> None:
        """End it when there is something now against one of the leaves that it rests on."""
        objection = standing.objection(self.footing.peer, self.footing.own)
        if objection is not None:
            self.close(objection.reason, objection.sentence)

    def close(self, reason: str, detail: str = "") -> None:
        """End the tunnel and every stream on it, now; `reason` is the metric's label, `detail` what a person reads."""
        if self.closed:
            return
        self.closed, self.ended, self.detail = True, reason, detail
        self._expiry.cancel()
        self._tick.cancel()
        self._carrier.close()
        self.mux.abort_all()
        self.decided.set()
        log.info(
            "tunnel closed",
            extra={
                "reason": reason,
                "detail": detail,
                "peer": str(self.peer.spiffe_id),
                "peer_address": self.peer_address,
                "peer_version": self.peer_release,
            },
        )
        self._on_closed(self, reason)

    def _seconds_left(self) -> float:
        return max(0.0, (self.expires - self._clock()).total_seconds())

    def _expired(self) -> None:
        self.close("certificate_expired")

    def _ticked(self) -> None:
        self._tick = self._loop.call_later(TICK_S, self._ticked)
        self._silent_ticks = 1 if self._carrier.heard else self._silent_ticks + 1
        self._carrier.heard = False
        self._measure(self._loop.time())
        if self._silent_ticks >= DEAD_AFTER_TICKS:
            self.close("peer_silent")
        elif not self.id and self._loop.time() - self.began > INTRODUCTION_S:
            self.close("no_hello")
        elif self._silent_ticks > 1:
            self.mux.ping(self._silent_ticks)
            self._carrier.give_back()

    def _measure(self, now: float) -> None:
        """Whether the last tick's time went by waiting for the socket; the client, who opens tunnels, must know."""
        busy = self._carrier.waited(now) > BUSY_SHARE * TICK_S
        if busy is not self._busy:
            self._busy = busy
            if self._accept is not None:
                self.say(BusyNotice(busy))

    def _opened(self, stream: Stream) -> StreamSink | None:
        if self._accept is None:
            return None
        if stream.id == hello.CONTROL_STREAM:
            return ControlSink(stream, self._said)
        return self._accept(self, stream)

    def _said(self, line: ControlLine) -> None:
        match line:
            case TunnelHello() if self._accept is not None:
                if self.id:
                    raise BadFrame("the peer introduced the tunnel twice")
                self.id = line.tunnel
                # The answer tells the client which versions we speak, and that its certificate was accepted.
                self.mux.streams[hello.CONTROL_STREAM].send(TunnelHello(__version__, line.tunnel).encode(), Flag.ACK)
                self._agree(line)
            case TunnelHello():
                self.accepted = True
                self._agree(line)
                self.decided.set()
            case BusyNotice():
                self._peer_busy = line.busy
            case DrainNotice():
                self.mux.peer_going_away = True
                self.stream_ended()
            case RenewNotice():
                pass  # the pool's affair
        self._on_said(self, line)

    def _agree(self, peer: TunnelHello) -> None:
        """On a version of the tunnel; there is only one until now. Raises OtherVersion."""
        self.peer_release = peer.version
        sentence = hello.objection(peer)
        if sentence:
            raise OtherVersion(sentence)

    def _lost(self, why: str) -> None:
        over = not self.open_streams and (self.draining or self.mux.peer_going_away)
        self.close("drained" if over else "lost", why)
