"""What is told of connections and tunnels: metrics, the access log, and the evidence for the directory."""

import logging
import time
from collections.abc import Callable

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.observe import access_log
from handfast_sidecar.observe.access_log import ALLOWED, REFUSED, ConnectionRecord
from handfast_sidecar.observe.evidence import EdgeTable
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.traffic.connection import OK, Connection, Protection
from handfast_sidecar.tunnel.connection import Tunnel

log = logging.getLogger(__name__)


class Telemetry:
    """Every metric of the data path is declared here. Labels never grow with the number of peers."""

    def __init__(self, registry: Registry, own: Callable[[], SpiffeId]) -> None:
        self._own = own
        self.edges = EdgeTable()
        self._opened_connections = registry.counter(
            "handfast_connections_opened_total",
            "Application connections that were carried, by direction and whether they were encrypted.",
            ("direction", "encrypted"),
        )
        self._connections = registry.counter(
            "handfast_connections_closed_total",
            "Application connections that ended, by direction, whether they were encrypted, and how they ended.",
            ("direction", "encrypted", "reason"),
        )
        self._bytes = registry.counter(
            "handfast_bytes_total",
            "Bytes of applications' connections that ended: `in` to this pod's application, `out` from it.",
            ("direction", "encrypted"),
        )
        self._denied = registry.counter(
            "handfast_denied_total", "Connections that were refused, by direction and reason.", ("direction", "reason")
        )
        self._plaintext = registry.counter(
            "handfast_plaintext_connections_total", "Connections that passed unencrypted, by direction.", ("direction",)
        )
        self._tunnels = registry.gauge("handfast_tunnels", "Open tunnels, by the side that opened them.", ("side",))
        self._opened = registry.counter(
            "handfast_tunnels_opened_total",
            "Tunnels, by TLS version, cipher and group.",
            ("side", "version", "cipher", "group"),
        )
        self._closed = registry.counter(
            "handfast_tunnels_closed_total", "Tunnels that ended, by reason.", ("side", "reason")
        )
        self._failures = registry.counter(
            "handfast_handshake_failures_total", "Handshakes that ended in no tunnel, by reason.", ("side", "reason")
        )

    def connection_opened(self, connection: Connection) -> None:
        """An application's connection is carried from now on."""
        connection.opened = True
        self._opened_connections.labels(
            connection.direction, _word(encrypted=(connection.tunnel or connection.protection) is not None)
        ).inc()

    def connection_over(self, connection: Connection) -> None:
        """An application's connection ended, or was refused."""
        tls = connection.tunnel or connection.protection
        direction, encrypted = connection.direction, tls is not None
        edge = self.edges.edge(
            direction,
            str(connection.peer) if connection.peer is not None else _other_end(connection),
            connection.destination_port,
            encrypted=encrypted,
        )
        if connection.refused:
            edge.refuse(connection.reason)
            self._denied.labels(direction, connection.reason).inc()
        else:
            if not connection.opened:
                # The peer aborted it before the application had accepted: it was there, and each end has a beginning.
                self.connection_opened(connection)
            edge.connections += 1
            edge.bytes_in += connection.bytes_in
            edge.bytes_out += connection.bytes_out
            word = _word(encrypted=encrypted)
            self._connections.labels(direction, word, connection.reason).inc()
            self._bytes.labels("in", word).inc(connection.bytes_in)
            self._bytes.labels("out", word).inc(connection.bytes_out)
            if not encrypted:
                self._plaintext.labels(direction).inc()
        access_log.write(self._record(connection, tls))

    def tunnel_opened(self, side: str) -> Callable[[Tunnel], None]:
        """What to call with each tunnel of a side: `client` or `server`."""

        def opened(tunnel: Tunnel) -> None:
            log.info(
                "tunnel opened",
                extra={
                    "side": side,
                    "peer": str(tunnel.peer.spiffe_id),
                    "peer_address": tunnel.peer_address,
                    "tls": {"version": tunnel.version, "cipher": tunnel.cipher, "group": tunnel.group},
                },
            )
            self._tunnels.labels(side).inc()
            self._opened.labels(side, tunnel.version, tunnel.cipher, tunnel.group).inc()

        return opened

    def tunnel_closed(self, side: str) -> Callable[[Tunnel, str], None]:
        """What to call with each tunnel of a side that ended."""

        def closed(_tunnel: Tunnel, reason: str) -> None:
            self._tunnels.labels(side).dec()
            self._closed.labels(side, reason).inc()

        return closed

    def handshake_failed(self, side: str) -> Callable[[str], None]:
        """What to call with the reason of each failed handshake."""
        return lambda reason: self._failures.labels(side, reason).inc()

    def _record(self, connection: Connection, tls: Tunnel | Protection | None) -> ConnectionRecord:
        return ConnectionRecord(
            direction=connection.direction,
            own=self._own(),
            peer=connection.peer,
            source=f"{connection.source}:{connection.source_port}",
            destination=f"{connection.destination}:{connection.destination_port}",
            bytes_in=connection.bytes_in,
            bytes_out=connection.bytes_out,
            duration_s=time.monotonic() - connection.started,
            tls_version=tls.version if tls is not None else "",
            cipher=tls.cipher if tls is not None else "",
            group=tls.group if tls is not None else "",
            verdict=REFUSED if connection.refused else ALLOWED,
            rule=connection.rule,
            reason="" if connection.reason == OK else connection.reason,
        )


def _word(*, encrypted: bool) -> str:
    return "true" if encrypted else "false"


def _other_end(connection: Connection) -> str:
    return connection.source if connection.direction == "in" else connection.destination
