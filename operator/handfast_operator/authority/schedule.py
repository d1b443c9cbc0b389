"""When a leaf is renewed, and when a failed renewal is tried again. Pure.

Its one rule: pods that were issued a leaf in the same second do not ask for the next one in the same second, and an
operator that restarts finds the same times again: the jitter comes from the pod's UID.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Final

SHORT_LIFE: Final = timedelta(minutes=15)
"""Below it a leaf is renewed earlier: kubelet takes up to 100 s to bring a changed Secret into the pod."""
FIRST_RETRY: Final = timedelta(milliseconds=250)
LONGEST_RETRY_WITHOUT_LEAF: Final = timedelta(seconds=30)
"""A pod without a leaf cannot start: nothing else is as urgent."""
LEAST_SPACING: Final = timedelta(minutes=1)
"""Between two leaves of a pod: at the end of its issuer's life a leaf's own life goes to zero."""


def renew_at(issued_at: datetime, not_after: datetime, uid: str) -> datetime:
    """Half of the leaf's life, plus up to a sixth; of a short life a third, plus up to a twelfth."""
    life = not_after - issued_at
    part, spread = (3, 12) if life < SHORT_LIFE else (2, 6)
    due = issued_at + life / part + (life / spread) * _fraction(uid)
    return max(due, issued_at + LEAST_SPACING).replace(microsecond=0)


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
