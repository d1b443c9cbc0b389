"""What is told of connections and tunnels: metrics, the access log, and the evidence for the directory."""

import logging
import time
from collections.abc import Callable

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.observe import access_log, table
from handfast_sidecar.observe.access_log import ALLOWED, REFUSED, ConnectionRecord
from handfast_sidecar.observe.evidence import EdgeCounts, EdgeTable
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.traffic.audit_log import AuditLog
from handfast_sidecar.traffic.connection import OK, Connection, Protection
from handfast_sidecar.tunnel.connection import Tunnel

log = logging.getLogger(__name__)


class Telemetry:
    """Counts, and writes, what the data path tells it."""

    def __init__(self, registry: Registry, own: Callable[[], SpiffeId]) -> None:
        self._own = own
        self.edges = EdgeTable()
        self._opened_connections = table.OPENED.of(registry)
        self._connections = table.CLOSED.of(registry)
        self._bytes = table.BYTES.of(registry)
        self._denied = table.DENIED.of(registry)
        self._audited = table.AUDITED.of(registry)
        self._audits = AuditLog()
        self._plaintext = table.PLAINTEXT.of(registry)
        self._tunnels = table.TUNNELS.of(registry)
        self._opened = table.TUNNELS_OPENED.of(registry)
        self._closed = table.TUNNELS_CLOSED.of(registry)
        self._failures = table.HANDSHAKE_FAILURES.of(registry)

    def connection_opened(self, connection: Connection) -> None:
        """An application's connection is carried from now on."""
        connection.opened = True
        tls = connection.tunnel or connection.protection
        # Kept for its end: an edge is looked up once per connection.
        edge = connection.edge = self._edge(connection, tls)
        edge.opened(time.time(), connection.rule, connection.audited)
        self._opened_connections.labels(connection.direction, _word(encrypted=tls is not None)).inc()

    def connection_over(self, connection: Connection) -> None:
        """An application's connection ended, or was refused."""
        tls = connection.tunnel or connection.protection
        direction, encrypted = connection.direction, tls is not None
        if connection.edge is None and not connection.refused:
            # The peer aborted it before the application had accepted: it was there, and each end has a beginning.
            self.connection_opened(connection)
        if connection.edge is not None:
            connection.edge.closed(time.time(), connection.bytes_in, connection.bytes_out)
        if connection.refused:
            edge = connection.edge or self._edge(connection, tls)
            edge.refuse(connection.reason, time.time(), connection.rule)
            self._denied.labels(direction, connection.reason).inc()
        else:
            word = _word(encrypted=encrypted)
            self._connections.labels(direction, word, connection.reason).inc()
            self._bytes.labels("in", word).inc(connection.bytes_in)
            self._bytes.labels("out", word).inc(connection.bytes_out)
            if not encrypted:
                self._plaintext.labels(direction).inc()
        access_log.write(self._record(connection, tls))

    def connection_audited(self, connection: Connection) -> None:
        """The policy has something against a connection, and only says so."""
        self._audited.labels(connection.direction, connection.audited).inc()
        self._audits.tell(connection)
        if connection.edge is not None:
            # It is carried already: what has come to be audited since then is counted too.
            connection.edge.audit(connection.audited)

    def tunnel_opened(self, side: str, then: Callable[[], None] = lambda: None) -> Callable[[Tunnel], None]:
        """What to call with each tunnel of a side, `client` or `server`; it calls `then`."""

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
            then()

        return opened

    def tunnel_closed(self, side: str, then: Callable[[], None] = lambda: None) -> Callable[[Tunnel, str], None]:
        """What to call with each tunnel of a side that ended; it calls `then`."""

        def closed(_tunnel: Tunnel, reason: str) -> None:
            self._tunnels.labels(side).dec()
            self._closed.labels(side, reason).inc()
            then()

        return closed

    def handshake_failed(self, side: str) -> Callable[[str], None]:
        """What to call with the reason of each failed handshake."""
        return lambda reason: self._failures.labels(side, reason).inc()

    def _edge(self, connection: Connection, tls: Tunnel | Protection | None) -> EdgeCounts:
        if connection.peer is not None:
            foreign = connection.direction == "out" and connection.tunnel is None
            return self.edges.edge(
                connection.direction,
                str(connection.peer),
                connection.destination_port,
                encrypted=tls is not None,
                foreign=foreign,
            )
        peer, port = _other_end(connection)
        return self.edges.edge(connection.direction, peer, port, encrypted=tls is not None)

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
            audited=connection.audited,
            detail=connection.detail,
        )


def _word(*, encrypted: bool) -> str:
    return "true" if encrypted else "false"


def _other_end(connection: Connection) -> tuple[str, int]:
    """Address and port of a peer without an identity; of a Service's connection those of the endpoint it went to."""
    if connection.direction == "in":
        return connection.source, connection.destination_port
    if connection.endpoint:
        address, _, port = connection.endpoint.rpartition(":")
        return address, int(port)
    return connection.destination, connection.destination_port
