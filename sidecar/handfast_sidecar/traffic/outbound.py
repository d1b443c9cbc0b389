"""What this pod's application dials: asked of the directory, then carried by a tunnel, passed on, or refused."""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from random import Random

from handfast_sidecar.directory.messages import (
    Endpoint,
    Transport,
)
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.traffic.asking import AddressSource
from handfast_sidecar.traffic.client_relay import ClientRelay, open_relay
from handfast_sidecar.traffic.connection import Connection, Journal
from handfast_sidecar.traffic.destinations import Destinations
from handfast_sidecar.traffic.original_destination import original_destination
from handfast_sidecar.traffic.plain import PlainRelay
from handfast_sidecar.traffic.plaintext import Plaintext
from handfast_sidecar.traffic.reach import Dialled, Reach, Tunnelled
from handfast_sidecar.traffic.refusals import Refusals
from handfast_sidecar.traffic.relay import Relay
from handfast_sidecar.traffic.routing import ByTunnel, Plain, Refuse, Route
from handfast_sidecar.traffic.sockets import abort
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.pool import TunnelPool
from handfast_sidecar.tunnel.reasons import Reason
from handfast_sidecar.wellknown import SIDECAR_PORTS

log = logging.getLogger(__name__)


class Outbound:
    """Takes redirected connections and sees each to its end."""

    def __init__(
        self,
        directory: AddressSource,
        pool: TunnelPool,
        in_cluster: Callable[[str], bool],
        journal: Journal,
        policy: PolicyInForce,
        *,
        destination_of: Callable[[socket.socket, str], tuple[str, int]] = original_destination,
        random: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._journal = journal
        self._destination_of = destination_of
        self._destinations = Destinations(directory, in_cluster, self._load, random=random, clock=clock)
        self.asked, self._choice = self._destinations.asked, self._destinations.choice
        self._plaintext = Plaintext(policy, directory, self._choice, journal.connection_audited)
        self._reach = Reach(directory, pool, self._choice, clock, self._plaintext.permitted)
        self._waiting: set[asyncio.Task[None]] = set()
        self.relays: set[Relay | PlainRelay] = set()
        self.released: Callable[[], None] = lambda: None
        self._refusals = Refusals(self._ended)

    def accepted(self, sock: socket.socket, source: str, source_port: int) -> None:
        """A redirected connection; on the fast path it is on its tunnel before this returns."""
        try:
            address, port = self._destination_of(sock, source)
        except OSError:
            # Gone already, or dialled this port itself instead of being redirected to it.
            abort(sock)
            self.released()
            return
        connection = Connection("out", source, source_port, address, port)
        if port in SIDECAR_PORTS and sock.getsockname()[0] == address:
            self._refusals.refuse(
                sock, connection, Refuse("reserved_port", f"port {port} belongs to the sidecar: dial the application's")
            )
            return
        chosen = self._destinations.known(connection)
        if isinstance(chosen, ByTunnel):
            tunnel = self._pool.ready(chosen.endpoint)
            if tunnel is not None:
                if self._choice.health.absent:
                    self._choice.health.succeeded(chosen.endpoint)
                self._attach(sock, connection, tunnel, chosen.endpoint)
                return
        self._start(self._slow_path(sock, connection, chosen))

    def carry(
        self, sock: socket.socket, connection: Connection, begin: Callable[[], Awaitable[Refuse | PlainRelay | None]]
    ) -> None:
        """See a connection to its end: by the relay that `begin` makes, or like a redirected one, when it makes none
        but has filled in where the connection goes."""
        self._start(self._begun(sock, connection, begin))

    def rejudge(self) -> None:
        """End what the policy refuses now, within a second, with the reason `policy_changed`. What is being dialled is
        asked about when it is connected."""
        self._plaintext.rejudge()

    def look_again(self, standing: Standing) -> None:
        """End the connections to upstreams of whom there is something against now; tunnels have their own."""
        for relay in list(self.relays):
            if isinstance(relay, PlainRelay):
                relay.hold_against(standing)

    def stop(self, reason: str) -> None:
        """End every connection."""
        for task in list(self._waiting):
            task.cancel()
        for relay in list(self.relays):
            relay.stop(reason)

    async def _slow_path(
        self, sock: socket.socket, connection: Connection, chosen: Route | None, before: ClientRelay | None = None
    ) -> None:
        """Ask the directory, dial a tunnel, or dial the destination; whatever fails refuses the connection.

        `before`: what carried it until it was moved.
        """
        with self._refusals.of(sock, connection, before):
            if chosen is None:
                chosen = await self._destinations.ask(connection)
            reached = await self._reach.reach(connection, chosen)
            match reached:
                case Tunnelled(endpoint, tunnel):
                    self._attach(sock, connection, tunnel, endpoint, before)
                case Dialled(plain, target):
                    self._carry_plain(sock, target, connection, plain, before)
                case Refuse():
                    self._refusals.refuse(sock, connection, reached)

    def _carry_plain(
        self,
        sock: socket.socket,
        target: socket.socket,
        connection: Connection,
        plain: Plain,
        before: ClientRelay | None,
    ) -> None:
        refusal = self._plaintext.refusal(connection)
        if refusal is not None:  # the policy changed during the dial
            abort(target)
            self._refusals.refuse(sock, connection, refusal)
            return
        connection.endpoint = f"{plain.address}:{plain.port}"
        relay = PlainRelay(sock, target, connection, self.plain_over)
        self._plaintext.opened(relay, plain.endpoint)
        self._relay(relay)
        if before is not None and before.kept:
            relay.greet(bytes(before.kept))

    async def _begun(
        self, sock: socket.socket, connection: Connection, begin: Callable[[], Awaitable[Refuse | PlainRelay | None]]
    ) -> None:
        with self._refusals.of(sock, connection):
            match await begin():
                case None:
                    self._start(self._slow_path(sock, connection, None))
                case Refuse() as refused:
                    self._refusals.refuse(sock, connection, refused)
                case PlainRelay() as relay:
                    self._relay(relay)

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def _load(self, endpoint: Endpoint) -> int:
        if endpoint.transport is Transport.TUNNEL:
            return self._pool.open_streams(endpoint)
        return self._plaintext.load(endpoint)

    def _attach(
        self,
        sock: socket.socket,
        connection: Connection,
        tunnel: Tunnel,
        endpoint: Endpoint,
        before: ClientRelay | None = None,
    ) -> None:
        if not tunnel.usable:
            self._refusals.refuse(
                sock, connection, Refuse("tunnel_closed", f"the tunnel to {endpoint.address} ended before it was used")
            )
            return
        connection.endpoint = f"{endpoint.address}:{endpoint.port}"
        connection.peer, connection.tunnel = tunnel.peer.spiffe_id, tunnel
        # What dialled the pod itself has no other.
        move = self._moved if endpoint.address != connection.destination else None
        self._relay(open_relay(sock, connection, tunnel, endpoint, self._stream_over, move, before))

    def _moved(self, relay: ClientRelay, reason: Reason) -> bool:
        """Take a connection to another endpoint, whose server said that it connected it to nobody.

        False when there is no other: then it is refused, as without a mesh.
        """
        connection = relay.connection
        if reason is Reason.SHUTTING_DOWN:  # the pod, where the other reason is about one port alone
            self._choice.leaving(relay.tried[-1])
        other = self._reach.other(connection, list(relay.tried))
        if other is None:
            return False
        log.info(
            "a connection goes to another endpoint, as its server connected it to nobody",
            extra={
                "reason": reason.word,
                "destination": f"{connection.destination}:{connection.destination_port}",
                "was": connection.endpoint,
            },
        )
        relay.let_go()
        self.relays.discard(relay)
        if connection.tunnel is not None:
            connection.tunnel.stream_ended()
        self._start(self._slow_path(relay.sock, connection, other, relay))
        return True

    def _relay(self, relay: Relay | PlainRelay) -> None:
        self.relays.add(relay)
        if not relay.connection.opened:
            self._journal.connection_opened(relay.connection)
        relay.start()

    def _stream_over(self, relay: Relay) -> None:
        tunnel = relay.connection.tunnel
        if tunnel is not None:
            tunnel.stream_ended()
        self._over(relay)

    def plain_over(self, relay: PlainRelay) -> None:
        """A connection that is on no stream ended."""
        self._plaintext.ended(relay)
        self._over(relay)

    def _over(self, relay: Relay | PlainRelay) -> None:
        self.relays.discard(relay)
        self._ended(relay.connection)

    def _ended(self, connection: Connection) -> None:
        self.released()
        self._journal.connection_over(connection)
