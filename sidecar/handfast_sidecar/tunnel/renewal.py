"""When a tunnel ends, and when its client replaces it. Pure.

A tunnel lives as long as the leaves on both sides. Its client opens a new one in time, and the old one is extended to
the new leaves' end, so that a long connection outlives any number of rotations and a stolen leaf gains nothing.
"""

from datetime import datetime, timedelta
from typing import Final

RENEW_AFTER: Final = 0.6
"""Part of a tunnel's time after which its client tries to renew it.

With leaves of 5 minutes, the shortest, kubelet has projected the next one after at most 225 s, 75 s before the end; the
first tries may come too early and are repeated.
"""
FIRST_RETRY: Final = timedelta(seconds=2)
RETRIES_LEFT: Final = 8
"""A try that did not extend the tunnel is repeated after this part of what is left."""
ASKED_RETRY: Final = timedelta(seconds=2)
ASKED_RETRY_MAX: Final = timedelta(minutes=1)
"""A renewal that another issuer is the reason of is tried again this soon at first, and at the latest: a rotation of
the root waits for it."""
APART_S: Final = 2.0
"""Seconds of a tunnel's life before its server may ask for the next: one that asks without end costs little."""
SPREAD_S: Final = 3.0
RENEWALS_PER_S: Final = 200
"""Tunnels that another issuer is to be renewed for share out this time, or more where there are many: each costs both
sides a handshake."""


def expiry(own_not_after: datetime, peer_not_after: datetime) -> datetime:
    """When a tunnel with these leaves must end."""
    return min(own_not_after, peer_not_after)


def renew_at(established: datetime, expires: datetime) -> datetime:
    """When the client of a tunnel first tries to renew it."""
    return established + (expires - established) * RENEW_AFTER


def retry_at(now: datetime, expires: datetime) -> datetime:
    """When to try again after an attempt that did not carry the tunnel further."""
    return now + max(FIRST_RETRY, (expires - now) / RETRIES_LEFT)


def asked_retry_at(now: datetime, expires: datetime, failures: int) -> datetime:
    """As `retry_at`, while another issuer is the reason; `failures` are those before, one at least."""
    pause = min(ASKED_RETRY_MAX, ASKED_RETRY * (1 << min(max(failures - 1, 0), 10)))
    return min(retry_at(now, expires), now + pause)


def spread_s(tunnels: int) -> float:
    """Seconds over which so many tunnels are renewed for another issuer."""
    return max(SPREAD_S, tunnels / RENEWALS_PER_S)
