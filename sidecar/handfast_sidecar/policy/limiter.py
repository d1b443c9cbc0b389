"""Who is over a limit: counters and token buckets. Pure: the time is passed in, in nanoseconds that only grow.

The one rule: being refused costs nobody anything. A client is asked for its own limits first, and takes from what all
share only when nothing refuses it; so a client that is over its limit leaves the others theirs.

Memory is bounded: so many clients are told apart, half of them identities and half addresses, since anybody can have
many addresses and only the operator makes identities. A client is forgotten when a new entry would say the same of it;
when there is no room for one more, further clients share one client's part.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final

from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.limits import Limits, Rate
from handfast_sidecar.policy.verdict import Verdict, as_enforced

MAX_CLIENTS: Final = 2048
"""Identities, and as many addresses, that are told apart; each costs about 300 bytes."""
SECOND: Final = 1_000_000_000
"""Nanoseconds; and what a bucket counts a token as, so that it counts in whole numbers."""

CONNECTIONS: Final = "limit_connections"
"""All clients together have as many connections open as `limits.maxConnections` lets them."""
RATE: Final = "limit_rate"
"""All clients together open more than `limits.connectionsPerSecond`."""
CLIENT_CONNECTIONS: Final = "limit_client_connections"
"""This client has as many connections open as `limits.perClient.maxConnections` lets one have."""
CLIENT_RATE: Final = "limit_client_rate"
"""This client opens more than `limits.perClient.connectionsPerSecond`."""
HANDSHAKES: Final = "limit_handshakes"
"""All clients together begin more handshakes than `limits.handshakesPerSecond`."""
LIMIT_REASONS: Final = frozenset({CONNECTIONS, RATE, CLIENT_CONNECTIONS, CLIENT_RATE, HANDSHAKES})

Clock = Callable[[], int]


class TokenBucket:
    """Full at first. The rate is given with each question, because a policy may change it."""

    __slots__ = ("_at", "_level")

    def __init__(self, rate: Rate, now: int) -> None:
        self._at, self._level = now, rate.burst * SECOND

    def has_one(self, rate: Rate, now: int) -> bool:
        """Whether there is a token to take."""
        self._refill(rate, now)
        return self._level >= SECOND

    def take(self) -> None:
        """Take one that is there."""
        self._level -= SECOND

    def full(self, rate: Rate, now: int) -> bool:
        """Whether it is as good as new."""
        self._refill(rate, now)
        return self._level == rate.burst * SECOND

    def _refill(self, rate: Rate, now: int) -> None:
        self._level = min(rate.burst * SECOND, self._level + (now - self._at) * rate.per_second)
        self._at = now


class _Client:
    """What one client has; or all together, or those that are not told apart."""

    __slots__ = ("bucket", "name", "open")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.open = 0
        self.bucket: TokenBucket | None = None

    def may_begin(self, rate: Rate, now: int) -> bool:
        """Whether its rate allows one more; `take` goes with it."""
        if self.bucket is None:
            self.bucket = TokenBucket(rate, now)
        return self.bucket.has_one(rate, now)

    def take(self, rate: Rate | None) -> None:
        """Charge it with one that began."""
        if rate is None:
            self.bucket = None
        elif self.bucket is not None:
            self.bucket.take()

    def idle(self, rate: Rate | None, now: int) -> bool:
        """Whether a new entry would say the same."""
        return not self.open and (rate is None or self.bucket is None or self.bucket.full(rate, now))


class _Clients:
    """Clients of one kind, by name."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._known: dict[str, _Client] = {}
        self._others = _Client()
        self._looked = -SECOND

    def __len__(self) -> int:
        return len(self._known)

    def of(self, name: str, rate: Rate | None, now: int) -> _Client:
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= self._bound and not self._made_room(rate, now):
                return self._others
            found = self._known[name] = _Client(name)
        return found

    def over(self, client: _Client) -> None:
        """One of its connections ended."""
        client.open -= 1
        if not client.open and client.bucket is None and self._known.get(client.name) is client:
            del self._known[client.name]

    def _made_room(self, rate: Rate | None, now: int) -> bool:
        """Forget who is idle; once a second, for this looks at everybody."""
        if now - self._looked >= SECOND:
            self._looked = now
            for name in [name for name, each in self._known.items() if each.idle(rate, now)]:
                del self._known[name]
        return len(self._known) < self._bound


class Limiter:
    """Counts connections from their verdict to their end; each is a number that no other open one has."""

    def __init__(self, clock: Clock = time.monotonic_ns, *, max_clients: int = MAX_CLIENTS) -> None:
        self._clock = clock
        self._max_clients = max_clients
        self._forget()

    @property
    def clients(self) -> int:
        """Clients that are told apart now."""
        return len(self._kinds[True]) + len(self._kinds[False])

    @property
    def open(self) -> int:
        """Connections that are counted."""
        return self._all.open

    def follow(self, policy: EffectivePolicy, open_now: Iterable[tuple[int, str, bool]]) -> None:
        """Begin to count anew, with what is open: connection, client, and whether that is an identity."""
        self._forget()
        for connection, client, proven in open_now:
            self.count(policy, connection, client, proven=proven)

    def count(self, policy: EffectivePolicy, connection: int, client: str, *, proven: bool) -> None:
        """One that is open whatever the limits say."""
        if connection not in self._open:
            rate = policy.limits.client.rate if policy.limits is not None else None
            self._begin(connection, self._kinds[proven], self._kinds[proven].of(client, rate, self._clock()))

    def admit(self, policy: EffectivePolicy, connection: int, client: str, *, proven: bool) -> Verdict | None:
        """Count a connection, or say which limit it is over.

        client   its identity if it is `proven`, else its address

        None: it is within all limits. One that the policy only audits is counted too, and not charged.
        """
        limits = policy.limits
        if limits is None or connection in self._open:
            return None
        now, kind = self._clock(), self._kinds[proven]
        its = kind.of(client, limits.client.rate, now)
        refusal = self._over(limits, its, client, now)
        if refusal is None:
            its.take(limits.client.rate)
            self._all.take(limits.total.rate)
        else:
            refusal = as_enforced(policy, refusal)
        if refusal is None or refusal.allowed:
            self._begin(connection, kind, its)
        return refusal

    def ended(self, connection: int) -> None:
        """It is over; one that was not counted is passed over."""
        found = self._open.pop(connection, None)
        if found is not None:
            kind, its = found
            kind.over(its)
            self._all.open -= 1

    def _forget(self) -> None:
        self._open: dict[int, tuple[_Clients, _Client]] = {}
        self._all = _Client()
        self._kinds = {True: _Clients(self._max_clients), False: _Clients(self._max_clients)}

    def _begin(self, connection: int, kind: _Clients, its: _Client) -> None:
        self._open[connection] = (kind, its)
        its.open += 1
        self._all.open += 1

    def _over(self, limits: Limits, its: _Client, client: str, now: int) -> Verdict | None:
        own, total = limits.client, limits.total
        if own.connections is not None and its.open >= own.connections.connections:
            most = own.connections
            sentence = (
                f"{most.origin} lets a client have {most.connections} connections at a time: {client} has {its.open}"
            )
            return Verdict(False, most.origin, CLIENT_CONNECTIONS, sentence)
        if own.rate is not None and not its.may_begin(own.rate, now):
            sentence = f"{_said(own.rate)} a second of a client: {client} opens more"
            return Verdict(False, own.rate.origin, CLIENT_RATE, sentence)
        if total.connections is not None and self._all.open >= total.connections.connections:
            most = total.connections
            sentence = (
                f"{most.origin} lets this pod have {most.connections} connections at a time: it has {self._all.open}"
            )
            return Verdict(False, most.origin, CONNECTIONS, sentence)
        if total.rate is not None and not self._all.may_begin(total.rate, now):
            sentence = f"{_said(total.rate)} a second: more are opened"
            return Verdict(False, total.rate.origin, RATE, sentence)
        return None


class HandshakeLimit:
    """Handshakes at one port, whoever begins them: who a client is, is known only behind its handshake."""

    def __init__(self, policy: PolicyInForce, clock: Clock = time.monotonic_ns) -> None:
        self._policy, self._clock = policy, clock
        self._bucket: TokenBucket | None = None

    def over(self) -> Verdict | None:
        """Take one handshake; or why it may not begin."""
        policy = self._policy.policy
        if policy.limits is None or policy.limits.handshakes is None:
            return None
        rate, now = policy.limits.handshakes, self._clock()
        if self._bucket is None:
            self._bucket = TokenBucket(rate, now)
        if self._bucket.has_one(rate, now):
            self._bucket.take()
            return None
        sentence = f"{rate.origin} lets {rate.per_second} handshakes begin a second: more are begun"
        return as_enforced(policy, Verdict(False, rate.origin, HANDSHAKES, sentence))


def _said(rate: Rate) -> str:
    return f"{rate.origin} lets {rate.per_second} connections (at once {rate.burst}) begin"
