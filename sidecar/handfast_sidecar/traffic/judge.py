"""What holds for a connection now: the policy in force, asked by what is known of it when it arrives and ever after."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

from handfast_sidecar.identity.leaf import Leaf
from handfast_sidecar.policy.effective import TlsVersion
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.limiter import LIMIT_REASONS
from handfast_sidecar.policy.verdict import (
    Verdict,
    foreign_port_verdict,
    foreign_verdict,
    plaintext_verdict,
    tunnel_verdict,
)
from handfast_sidecar.traffic.connection import OK, Connection


class Judge:
    """Judges inbound connections by their own facts: the tunnel, the peer's own TLS, or neither."""

    def __init__(
        self, policy: PolicyInForce, trust_domain: Callable[[], str], audited: Callable[[Connection], None]
    ) -> None:
        """`audited` is called with each connection that passes only because the policy does no more than audit."""
        self._policy, self._trust_domain, self._audited = policy, trust_domain, audited

    def stream(self, peer: Leaf, port: int) -> Verdict:
        """Whether a stream of a tunnel's peer may."""
        return tunnel_verdict(self._policy.policy, peer.spiffe_id, self._trust_domain(), port, peer.spki_sha256)

    def verdict(self, connection: Connection, *, securing: bool = False) -> Verdict:
        """Whether it may reach the application; `securing`: it may be a foreign peer's, whom nobody knows yet."""
        policy, port = self._policy.policy, connection.destination_port
        tunnel, own = connection.tunnel, connection.protection
        if tunnel is not None:
            return self.stream(tunnel.peer, port)
        if own is not None and connection.peer is not None:
            return foreign_verdict(policy, connection.peer, self._trust_domain(), port, own.spki_sha256, own.version)
        return foreign_port_verdict(policy, port) if securing else plaintext_verdict(policy, port)

    @property
    def oldest_tls(self) -> TlsVersion:
        """What a peer without a sidecar has to speak, at least."""
        return self._policy.policy.foreign.min_version

    def again(self, connection: Connection, forbid: Callable[[Verdict], None], *, securing: bool = False) -> None:
        """Judge one that was let in before; `forbid` is called unless it may stay."""
        verdict = self.verdict(connection, securing=securing)
        if verdict.allowed:
            self.settle(connection, verdict)
        else:
            forbid(verdict)

    def settle(self, connection: Connection, verdict: Verdict) -> None:
        """Note on a connection that is let in by which rule, and what an audit has against it."""
        connection.rule = verdict.rule
        told = connection.audited
        if not verdict.audited:
            if told and told not in LIMIT_REASONS:  # what was over a limit when it came was so
                connection.audited = connection.detail = ""
            return
        connection.audited, connection.detail = verdict.reason, verdict.sentence
        if told != verdict.reason:
            self._audited(connection)


class OnItsWay(Hashable, Protocol):
    """A connection whose application is not there yet; once the policy forbids it, it is refused like a new one."""

    def look_again(self, judge: Judge) -> None:
        """The policy has changed."""


@dataclass(eq=False, slots=True)
class Waiting:
    """A connection that a task sees to until its application is there."""

    connection: Connection
    task: asyncio.Task[None]
    securing: bool
    """It began with a handshake."""

    def look_again(self, judge: Judge) -> None:
        """As `OnItsWay`: the task is cancelled, and finds the refusal in the connection."""
        if self.connection.reason == OK and not self.task.done():
            judge.again(self.connection, self._forbid, securing=self.securing)

    def _forbid(self, verdict: Verdict) -> None:
        connection = self.connection
        connection.rule, connection.reason, connection.detail = verdict.rule, verdict.reason, verdict.sentence
        self.task.cancel()
