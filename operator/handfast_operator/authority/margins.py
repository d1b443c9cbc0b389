"""How much of a root's life may be left before something must happen. Pure.

Its one rule: evidence does not beat the clock. A root that ends takes everybody with it, a straggler only himself.
"""

from dataclasses import dataclass
from datetime import timedelta

from handfast_operator.authority.authority import Authority


@dataclass(frozen=True, slots=True)
class Margins:
    """Remaining lives of the root that signs; none is above half of its life, however long leaves live."""

    start: timedelta
    """A rotation begins by itself: a third of the root's life, or four lives of a leaf where that is more."""
    hurry: timedelta
    """An older root that still drains is retired, so that the next rotation can begin: half-way between the others."""
    clock: timedelta
    """The next root signs whoever lacks it: two lives of a leaf, at most a quarter of the root's."""


def margins(signer: Authority, leaf_ttl: timedelta) -> Margins:
    """Of this root; `leaf_ttl` is the longest life of a leaf in force."""
    life = signer.ends - signer.certificate.not_valid_before_utc
    start = max(life / 3, min(4 * leaf_ttl, life / 2))
    clock = min(2 * leaf_ttl, life / 4)
    return Margins(start, (start + clock) / 2, clock)
