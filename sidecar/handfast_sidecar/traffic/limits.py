"""The policy's limits, applied: a connection counts from its verdict to its end, also while it dials.

Where no limit is set, nothing is counted. When one is set, what is open is counted with it and not ended: a lower limit
refuses new connections until enough have ended by themselves.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.limiter import Limiter
from handfast_sidecar.policy.verdict import Verdict
from handfast_sidecar.traffic.connection import Connection


class Carried(Protocol):
    """A relay."""

    @property
    def connection(self) -> Connection: ...


class ConnectionLimits:
    """Asked of each connection that nothing else refuses. `open_now` is what the owner carries, as it changes; `settle`
    notes on a connection that is let in what an audit has against it."""

    def __init__(
        self, policy: PolicyInForce, open_now: Collection[Carried], settle: Callable[[Connection, Verdict], None]
    ) -> None:
        self._policy = policy
        self._settle = settle
        self._open_now = open_now
        self._limiter = Limiter()
        self.following = False
        """Whether `opened` and `ended` want to be told: not as long as nobody set a limit."""

    def over(self, connection: Connection) -> Verdict | None:
        """The limit for which it is to be refused; None: it counts from now on."""
        policy, limiter = self._policy.policy, self._limiter
        if policy.limits is None:
            return None
        if not self.following:
            self.following = True
            limiter.follow(policy, (_counted(each.connection) for each in self._open_now))
        number, client, proven = _counted(connection)
        verdict = limiter.admit(policy, number, client, proven=proven)
        if verdict is None:
            return None
        if verdict.audited:
            if not connection.audited:
                self._settle(connection, verdict)
            return None
        connection.rule = verdict.rule
        return verdict

    def opened(self, connection: Connection) -> None:
        """It is carried: one that was let in before there was a limit counts too."""
        policy = self._policy.policy
        if policy.limits is None:
            self.following = False
        else:
            number, client, proven = _counted(connection)
            self._limiter.count(policy, number, client, proven=proven)

    def ended(self, connection: Connection) -> None:
        """It is over, or was refused."""
        self._limiter.ended(id(connection))


def _counted(connection: Connection) -> tuple[int, str, bool]:
    """Its number, who the client is, and whether that was proven."""
    peer = connection.peer
    return (id(connection), connection.source, False) if peer is None else (id(connection), str(peer), True)
