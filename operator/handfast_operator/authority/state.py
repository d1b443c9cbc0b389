"""The life of an authority, as a table. Pure: who moves it, and on what evidence, is decided elsewhere.

    Prepared -> Distributed -> Active -> Draining -> Retired

Its one rule: an authority signs only while every sidecar may be expected to trust it, and is trusted for as long as
anybody may present a leaf of it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from handfast_sidecar.errors import HandfastError


class AuthorityState(StrEnum):
    """Where an authority is in its life."""

    PREPARED = "Prepared"
    """Its key is made; nobody knows it yet."""
    DISTRIBUTED = "Distributed"
    """It is in every bundle that is written."""
    ACTIVE = "Active"
    """It signs."""
    DRAINING = "Draining"
    """It signs no more and is still trusted."""
    RETIRED = "Retired"
    """It is in no bundle."""


TRANSITIONS: Final[Mapping[AuthorityState, frozenset[AuthorityState]]] = {
    AuthorityState.PREPARED: frozenset({AuthorityState.DISTRIBUTED, AuthorityState.RETIRED}),
    AuthorityState.DISTRIBUTED: frozenset({AuthorityState.ACTIVE, AuthorityState.RETIRED}),
    AuthorityState.ACTIVE: frozenset({AuthorityState.DRAINING}),
    # A rotation that is taken back makes the old authority sign again.
    AuthorityState.DRAINING: frozenset({AuthorityState.ACTIVE, AuthorityState.RETIRED}),
    AuthorityState.RETIRED: frozenset(),
}
IN_BUNDLE: Final = frozenset({AuthorityState.DISTRIBUTED, AuthorityState.ACTIVE, AuthorityState.DRAINING})
"""States in which sidecars are told to trust the authority."""


class BadTransition(HandfastError):
    """A move that the table does not have."""


def check_transition(before: AuthorityState, after: AuthorityState) -> None:
    """Raise BadTransition unless an authority may go from `before` to `after`."""
    if after not in TRANSITIONS[before]:
        allowed = ", ".join(sorted(TRANSITIONS[before])) or "nothing"
        raise BadTransition(f"an authority that is {before} cannot become {after}, only: {allowed}")
