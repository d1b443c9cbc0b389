"""Endpoints that are left out of the choice for a while, and when each is tried again. Pure: the time is passed in.

The one rule: this only ever prefers other endpoints. When all are left out, the one due soonest is tried, so nobody is
refused for what somebody else met a second ago.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Final

from handfast_sidecar.directory.messages import Endpoint, Transport
from handfast_sidecar.identity.spiffe import SpiffeId

FIRST_S: Final = 1.0
LAST_S: Final = 60.0
"""Seconds that an endpoint is left out after its first failed dial; doubled with each further one, up to the last.
Between half and all of it at random, so that the sidecars of a cluster do not return together."""
TRIAL_S: Final = 30.0
"""Seconds that one connection has to try an endpoint again before another one may: a dial takes less."""
LEAVING_S: Final = 10.0
"""Seconds that an endpoint that said it goes away is left out: it serves what runs for 5 s (`proxy.DRAIN_S`), and by
then the directory no longer names it, or it has failed a dial."""
FORGET_S: Final = 300.0
"""Seconds after which an endpoint that is due and was not tried is forgotten: mostly it is no endpoint any more."""

_Key = tuple[str, str, SpiffeId | None, int]


@dataclass(slots=True)
class _Absence:
    failures: int
    due: float
    trying: bool = False
    """Whether a connection was let through to see."""


class EndpointHealth:
    """Who is left out. `absent` is false as long as nobody is: the usual case, which must cost nothing."""

    __slots__ = ("_forget_at", "_random", "absent")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._forget_at = 0.0
        self.absent: dict[_Key, _Absence] = {}

    def failed(self, endpoint: Endpoint, now: float) -> bool:
        """A dial failed. False when that is known: all who waited for one dial tell of the same failure."""
        absence = self.absent.get(_key(endpoint))
        if absence is not None and now < absence.due and not absence.trying:
            return False
        failures = absence.failures + 1 if absence is not None else 1
        longest = min(LAST_S, FIRST_S * 2 ** min(failures - 1, 10))
        self.absent[_key(endpoint)] = _Absence(failures, now + longest * self._random.uniform(0.5, 1.0))
        return True

    def leaving(self, endpoint: Endpoint, now: float) -> None:
        """It said that it goes away."""
        self.absent[_key(endpoint)] = _Absence(0, now + LEAVING_S)

    def succeeded(self, endpoint: Endpoint) -> None:
        """It took a connection: whole again."""
        self.absent.pop(_key(endpoint), None)

    def is_usable(self, endpoint: Endpoint, now: float) -> bool:
        """Whether it is not left out, or due again."""
        return self._due(endpoint) <= now

    def usable(self, endpoints: Collection[Endpoint], now: float) -> tuple[Endpoint, ...]:
        """The usable ones; the one due soonest when that is none."""
        found = tuple(each for each in endpoints if self._due(each) <= now)
        return found or tuple(sorted(endpoints, key=self._due)[:1])

    def chosen(self, endpoint: Endpoint, now: float) -> None:
        """A connection goes there: one is enough to see whether an endpoint that was left out is back."""
        absence = self.absent.get(_key(endpoint))
        if absence is not None:
            absence.trying, absence.due = True, now + TRIAL_S
        elif now >= self._forget_at:
            self._forget_at = now + FORGET_S
            for key in [key for key, each in self.absent.items() if each.due + FORGET_S < now]:
                del self.absent[key]

    def _due(self, endpoint: Endpoint) -> float:
        absence = self.absent.get(_key(endpoint))
        return absence.due if absence is not None else -inf


def _key(endpoint: Endpoint) -> _Key:
    """A tunnel is to a pod, whatever the port; an address that changes hands is another endpoint."""
    port = 0 if endpoint.transport is Transport.TUNNEL else endpoint.port
    return (endpoint.address, endpoint.uid, endpoint.identity, port)
