"""The way in of explicit mode: tunnels alone, and an application that may listen on loopback, where they alone lead.

On loopback only the ports that the pod's containers declare are reached: what else listens there, a debugger or an
upstream of our own, has been for the pod alone, and stays so.

Nothing is redirected, so nothing stands before a port that listens on the pod's own address: who dials it there is
neither asked for an identity nor judged. Where the policy is `Strict` that is said, once for each port.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

from handfast_sidecar.config.ports import PortRange
from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.observe.proc_net import listeners
from handfast_sidecar.policy.effective import Mode
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.traffic.connection import Journal
from handfast_sidecar.traffic.inbound import Inbound
from handfast_sidecar.traffic.plain import PlainRelay
from handfast_sidecar.traffic.relay import Relay
from handfast_sidecar.traffic.server_stream import ServerStream
from handfast_sidecar.traffic.sockets import LOOPBACK
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.stream import Stream, StreamSink

log = logging.getLogger(__name__)


class LoopbackInbound(Inbound):
    """Judges as ever, and connects to the application wherever in the pod it listens."""

    def __init__(
        self,
        ports: Sequence[PortRange],
        policy: PolicyInForce,
        pod_ips: frozenset[str],
        trust_domain: Callable[[], str],
        journal: Journal,
        identity: Callable[[], Identity],
        *,
        standing: Standing | None = None,
        proxy_protocol_ports: frozenset[int] = frozenset(),
    ) -> None:
        """`ports`: those that are reached on loopback."""
        super().__init__(
            policy,
            pod_ips,
            trust_domain,
            journal,
            identity,
            standing=standing,
            proxy_protocol_ports=proxy_protocol_ports,
        )
        self._ports = tuple(ports)
        self._looked: set[int] = set()

    def stream(self, tunnel: Tunnel, stream: Stream) -> StreamSink:
        return LoopbackStream(self, tunnel, stream)

    def addresses(self, address: str, port: int) -> tuple[str, ...]:
        """Where the application may listen, in the order to try: it is dialled at the pod's address by its peers."""
        return (*LOOPBACK, address) if any(port in each for each in self._ports) else (address,)

    def connected(self, relay: Relay | PlainRelay) -> None:
        super().connected(relay)
        self._look(relay.connection.destination_port)

    def _look(self, port: int) -> None:
        """Say when a port that the policy closes to plaintext is open to it all the same."""
        rule = self._policy.policy.rule_for(port)
        if rule.mode is not Mode.STRICT or port in self._looked:
            return
        self._looked.add(port)
        address = _exposed_at(port)
        if address is not None:
            log.warning(
                "a port is open to everybody, whatever the policy says",
                extra={
                    "port": port,
                    "rule": rule.origin,
                    "detail": f"{rule.origin} asks for {rule.mode.value}, and the application listens on {address}, "
                    "where in explicit mode nothing guards it: let it listen on 127.0.0.1, where its sidecar dials it",
                },
            )


def _exposed_at(port: int) -> str | None:
    """An address other than loopback on which this pod listens on a port."""
    found = (each.address for each in listeners() if each.port == port and not ip_address(each.address).is_loopback)
    return next(found, None)


class LoopbackStream(ServerStream):
    """Tries one address after the other."""

    __slots__ = ("_addresses", "_left")

    def __init__(self, inbound: LoopbackInbound, tunnel: Tunnel, stream: Stream) -> None:
        super().__init__(inbound, tunnel, stream)
        self._addresses = inbound.addresses
        self._left: Iterator[str] = iter(())

    def _connect(self, address: str) -> None:
        self._left = iter(self._addresses(address, self.connection.destination_port))
        self._not_listening()

    def _not_listening(self) -> None:
        self._forget()
        following = next(self._left, None)
        if following is None:
            super()._not_listening()
        else:
            super()._connect(following)

    def _forget(self) -> None:
        """What was dialled before."""
        self._inbound.dials.discard(self._unreachable)
        if self._sock is not None:
            self._poller.closing(self._sock.fileno())
            self._sock.close()
            self._sock = None
