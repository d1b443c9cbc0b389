"""Two sidecars' traffic parts on loopback: real sockets, real TLS, no redirect: the test says what nft would."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from handfast_sidecar.config.ports import PortRange
from handfast_sidecar.directory.messages import AddressAnswer, Endpoint, Place, PodAddress, Transport
from handfast_sidecar.identity.contexts import build_contexts
from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy, Mode, ModeRule
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.limiter import HandshakeLimit
from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.inbound import Inbound
from handfast_sidecar.traffic.listener import Listener
from handfast_sidecar.traffic.loopback import LoopbackInbound
from handfast_sidecar.traffic.mesh_port import MeshPort
from handfast_sidecar.traffic.outbound import Outbound
from handfast_sidecar.traffic.sockets import listen
from handfast_sidecar.tunnel.pool import TunnelPool
from support.pki import TestAuthority, plain_config

HOST = "127.0.0.1"
AUTHORITY = TestAuthority()
SERVER_ID = SpiffeId.parse("spiffe://test.example/ns/shop/sa/orders")
CLIENT_ID = SpiffeId.parse("spiffe://test.example/ns/shop/sa/cart")
STRICT = EffectivePolicy(ModeRule(Mode.STRICT, "MTLSPolicy shop/orders"))


def identity(spiffe_id: SpiffeId, authority: TestAuthority = AUTHORITY, **deviations: object) -> Identity:
    """An identity as a sidecar would have read it."""
    material = authority.issue(spiffe_id, **deviations).material(plain_config(authority.trust_domain))  # type: ignore[arg-type]
    return Identity(material, build_contexts(material))


@dataclass
class Answers:
    """What the directory would say, by address."""

    known_answers: dict[str, AddressAnswer] = field(default_factory=dict)
    connected: bool = True
    place: Place = field(default_factory=Place)

    def known(self, address: str) -> AddressAnswer | None:
        return self.known_answers.get(address)

    async def resolve(self, address: str, timeout_s: float) -> AddressAnswer | None:
        return self.known_answers.get(address)


@dataclass
class Ended:
    """Connections that ended, and a way to wait for the next."""

    connections: "asyncio.Queue[Connection]" = field(default_factory=asyncio.Queue)
    audited: list[Connection] = field(default_factory=list)

    def connection_audited(self, connection: Connection) -> None:
        self.audited.append(connection)

    def connection_opened(self, connection: Connection) -> None:
        """Not asked by any test here."""

    def connection_over(self, connection: Connection) -> None:
        self.connections.put_nowait(connection)

    async def next(self) -> Connection:
        return await asyncio.wait_for(self.connections.get(), 10)


class Server:
    """A sidecar's inbound side; its application is whatever listens at `app_port`."""

    def __init__(
        self,
        who: Identity,
        policy: EffectivePolicy = STRICT,
        *,
        host: str = HOST,
        mesh_port: int = 0,
        proxy_protocol_ports: frozenset[int] = frozenset(),
        loopback_ports: Sequence[PortRange] | None = None,
    ) -> None:
        """`loopback_ports`: given, it is in explicit mode, and these are what its containers declare."""
        self.host = host
        self.who = who
        self.policy = PolicyInForce(policy, 1)
        self.ended = Ended()
        self.failures: asyncio.Queue[str] = asyncio.Queue()
        self.closed: asyncio.Queue[str] = asyncio.Queue()
        self.plain_destination = (HOST, 0)
        pod_ips = frozenset({host})
        self.inbound = (
            Inbound(
                self.policy,
                pod_ips,
                self.trust_domain,
                self.ended,
                lambda: self.who,
                proxy_protocol_ports=proxy_protocol_ports,
                destination_of=lambda _sock, _source: self.plain_destination,
            )
            if loopback_ports is None
            else LoopbackInbound(loopback_ports, self.policy, pod_ips, self.trust_domain, self.ended, lambda: self.who)
        )
        self.mesh = MeshPort(
            lambda: self.who,
            self.inbound.stream,
            opened=lambda _tunnel: None,
            closed=lambda _tunnel, reason: self.closed.put_nowait(reason),
            failed=self.failures.put_nowait,
            limit=HandshakeLimit(self.policy),
        )
        self.listener = Listener("mesh", [listen(host, mesh_port)], 64, self.mesh.accepted)
        self.mesh.released = self.listener.release
        self.plain_listener = Listener("inbound", [listen(host, 0)], 64, self.inbound.plaintext)
        self.inbound.released = self.plain_listener.release

    def trust_domain(self) -> str:
        return self.who.leaf.spiffe_id.trust_domain

    def close(self) -> None:
        self.listener.close()
        self.plain_listener.close()
        self.inbound.stop("test over")
        self.mesh.close("test over")


class Client:
    """A sidecar's outbound side: what dials `port` is taken for a connection to `destination`."""

    def __init__(self, who: Identity, server: Server, app_port: int, *, expected: SpiffeId = SERVER_ID) -> None:
        self.who = who
        self.policy = PolicyInForce(EffectivePolicy(), 1)
        self.ended = Ended()
        self.failures: list[str] = []
        self.closed: asyncio.Queue[str] = asyncio.Queue()
        self.destination = (HOST, app_port)
        self.directory = Answers({HOST: PodAddress(HOST, "shop/orders-0", "uid", Transport.TUNNEL, expected)})
        self.pool = TunnelPool(
            lambda: self.who,
            opened=lambda _tunnel: None,
            closed=lambda _tunnel, reason: self.closed.put_nowait(reason),
            failed=self.failures.append,
            mesh_port=server.listener.port,
        )
        self.outbound = Outbound(
            self.directory,
            self.pool,
            lambda _address: True,
            self.ended,
            self.policy,
            destination_of=lambda _sock, _source: self.destination,
        )
        self.listener = Listener("outbound", [listen(HOST, 0)], 4096, self.outbound.accepted)
        self.outbound.released = self.listener.release

    @property
    def endpoint(self) -> Endpoint:
        answer = self.directory.known_answers[HOST]
        assert isinstance(answer, PodAddress)
        return answer.endpoint(self.destination[1])

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection as the application makes it."""
        return await asyncio.open_connection(HOST, self.listener.port)

    def close(self) -> None:
        self.listener.close()
        self.outbound.stop("test over")
        self.pool.close("test over")


@asynccontextmanager
async def application(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object], host: str = HOST, port: int = 0
) -> AsyncIterator[int]:
    """An application that serves with `handler`; its port."""
    server = await asyncio.start_server(handler, host, port)  # type: ignore[arg-type]
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def mesh(
    app_port: int, *, server: Identity | None = None, client: Identity | None = None, policy: EffectivePolicy = STRICT
) -> AsyncIterator[tuple[Client, Server]]:
    """A client's and a server's sidecar between an application that dials and one that listens at `app_port`."""
    serving = Server(server or identity(SERVER_ID), policy)
    dialling = Client(client or identity(CLIENT_ID, pod_uid="22222222-0000-0000-0000-000000000000"), serving, app_port)
    try:
        yield dialling, serving
    finally:
        dialling.close()
        serving.close()
        await asyncio.sleep(0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, then end."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that speaks first."""
    writer.write(b"220 ready\r\n")
    await writer.drain()
    line = await reader.readline()
    writer.write(b"250 " + line)
    await writer.drain()
    writer.close()


async def is_reset(port: int) -> bool:
    """Whether a connection to a listener ends with an RST, be it while it is made or when it is read."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except ConnectionResetError:
        return True
    try:
        await reader.read()
    except ConnectionResetError:
        return True
    finally:
        writer.close()
    return False


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port
