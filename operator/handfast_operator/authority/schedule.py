"""When a leaf is renewed, and when a failed renewal is tried again. Pure.

Its one rule: pods that were issued a leaf in the same second do not ask for the next one in the same second, and an
operator that restarts finds the same times again: the jitter comes from the pod's UID.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Final

BACKDATE: Final = timedelta(minutes=4)
"""Clocks that are behind by less than this accept a certificate at once. Its life begins when it was issued."""
RENEW_PART, SPREAD_PART = 3, 12
"""A leaf is renewed after a third of its life, spread over the next twelfth. So seven twelfths are left at the least:
the control plane may then be away for half of a life, and a twelfth remains for retries and for kubelet, which takes up
to 100 s to bring a changed Secret into the pod."""
FIRST_RETRY: Final = timedelta(milliseconds=250)
LONGEST_RETRY_WITHOUT_LEAF: Final = timedelta(seconds=30)
"""A pod without a leaf cannot start: nothing else is as urgent."""
LEAST_SPACING: Final = timedelta(minutes=1)
"""Between two leaves of a pod: at the end of its issuer's life a leaf's own life goes to zero."""
DRAINED_A_SECOND: Final = 100
"""Leaves replaced each second when their authority drains: 10,000 pods in 100 s, about what kubelet takes for one."""


def renew_at(issued_at: datetime, not_after: datetime, uid: str) -> datetime:
    """A third of the leaf's life, plus up to a twelfth."""
    life = not_after - issued_at
    due = issued_at + life / RENEW_PART + (life / SPREAD_PART) * _fraction(uid)
    return max(due, issued_at + LEAST_SPACING).replace(microsecond=0)


def drain_at(since: datetime, pods: int, uid: str) -> datetime:
    """When a pod's leaf is replaced whose authority drains since then: at once, but not all of them in one second.

    `pods` is how many there are in all, not how many are left: then a restart in the middle finds the same times.
    """
    return since + timedelta(seconds=pods / DRAINED_A_SECOND) * _fraction(uid)


def retry_after(failures: int, remaining: timedelta | None) -> timedelta:
    """How long to wait after the given number of failures in a row; `remaining` is the life of the leaf in use.

    From a quarter of a second it doubles up to a tenth of what remains: urgent as the end comes near, never a storm.
    """
    longest = LONGEST_RETRY_WITHOUT_LEAF if remaining is None else max(remaining / 10, timedelta(seconds=1))
    doublings = min(max(failures - 1, 0), 20)
    return min(FIRST_RETRY * (1 << doublings), longest)


def _fraction(uid: str) -> float:
    """From 0 up to 1, the same for the same UID."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:6]) / (1 << 48)
