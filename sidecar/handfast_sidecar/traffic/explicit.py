"""Upstreams: the application dials a port of loopback and is connected to what its pod's owner declared for it.

The one rule: where such a connection goes is asked of the directory, as for a redirected one, when it comes: through a
tunnel to a meshed pod, and unencrypted only where a redirected one would be. An upstream outside the mesh, which is
declared with its SPIFFE ID, is dialled with mutual TLS and must prove to be that.
"""

import socket
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_address

from handfast_sidecar.config.upstreams import Upstream, is_address
from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.dial import dial
from handfast_sidecar.traffic.foreign import to_upstream
from handfast_sidecar.traffic.names import Names, NoSuchHost
from handfast_sidecar.traffic.outbound import Outbound
from handfast_sidecar.traffic.plain import PlainRelay
from handfast_sidecar.traffic.routing import Refuse
from handfast_sidecar.traffic.sockets import LOOPBACK, listen_on_loopback


class Upstreams:
    """What is declared, and the connections that come for it."""

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        outbound: Outbound,
        identity: Callable[[], Identity],
        names: Names | None = None,
        *,
        standing: Standing | None = None,
    ) -> None:
        self._by_port = {each.local_port: each for each in upstreams}
        self._outbound = outbound
        self._identity = identity
        self._standing = standing or Standing(identity)
        self._names = names or Names()

    def listen(self) -> list[socket.socket]:
        """Listeners of all of them. Raises OSError that names the one whose port is taken."""
        sockets: list[socket.socket] = []
        for upstream in self._by_port.values():
            try:
                sockets += listen_on_loopback(upstream.local_port)
            except OSError as error:
                for sock in sockets:
                    sock.close()
                raise OSError(
                    error.errno, f"cannot listen on loopback for the upstream {str(upstream)!r}: {error.strerror}"
                ) from error
        return sockets

    def accepted(self, sock: socket.socket, source: str, source_port: int) -> None:
        """A connection to an upstream's port, or a redirected one, which has another port."""
        upstream = self._by_port.get(sock.getsockname()[1])
        if upstream is None:
            self._outbound.accepted(sock, source, source_port)
            return
        connection = Connection("out", source, source_port, upstream.host, upstream.port)
        self._outbound.carry(sock, connection, partial(self._begin, upstream, sock, connection))

    async def _begin(
        self, upstream: Upstream, sock: socket.socket, connection: Connection
    ) -> Refuse | PlainRelay | None:
        refused = await self._locate(upstream, connection)
        if refused is not None or upstream.spiffe_id is None:
            return refused
        target = await dial(connection.destination, upstream.port)
        return await to_upstream(
            sock,
            target,
            connection,
            self._identity(),
            upstream.spiffe_id,
            host=upstream.host,
            standing=self._standing,
            finished=self._outbound.plain_over,
        )

    async def _locate(self, upstream: Upstream, connection: Connection) -> Refuse | None:
        """Fill in where it goes; or why it cannot."""
        try:
            address = upstream.host if is_address(upstream.host) else await self._names.address(upstream.host)
        except NoSuchHost as failure:
            return Refuse("no_such_host", f"the upstream {str(upstream)!r}: {failure}")
        ip = ip_address(address)
        if (ip.is_loopback or ip.is_unspecified) and upstream.port in self._by_port:
            return Refuse(
                "leads_back", f"the upstream {str(upstream)!r} leads to this sidecar's own listener, over and over"
            )
        connection.destination = address
        # A preface has one family; whichever of ours the application dialled, its address says nothing but "here".
        connection.source = LOOPBACK[ip.version == 6]
        return None
