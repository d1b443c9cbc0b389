"""What a root rotation waits for: sidecars, and our own servers, that are not where the next step needs them. Pure.

Its one rule: whoever runs and was not heard since the state began counts as not being there. Silence is no evidence.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from handfast_operator.resources.times import format_time

SILENT: Final = timedelta(seconds=60)
"""Sidecars report every ten seconds; who was not heard for this long is out of reach."""
STARTING: Final = timedelta(seconds=120)
"""What does not run yet may have been given its files before the state began; kubelet brings it others within 100 s."""


_LACKS_ROOT: Final = (
    "it does not trust the new root yet: kubelet brings a changed Secret within about 100 s; if it takes longer, look"
    " at the pod's Events and restart it"
)
_ENDS: Final = "it does not trust the new root, and is being deleted: it is waited for until it has ended"


class StragglerReason(StrEnum):
    """Why somebody is waited for; the words are promises (docs/reference.md)."""

    UNREPORTED = "unreported"
    """Nothing was heard since the state began, or for a minute."""
    OLD_BUNDLE = "old_bundle"
    """It trusts another bundle than the one of now."""
    OLD_LEAF = "old_leaf"
    """Its own leaf is of the authority that drains."""
    OLD_TUNNEL = "old_tunnel"
    """A tunnel of its rests on a leaf of the authority that drains."""
    NO_ISSUERS = "no_issuers"
    """It is of a version that does not tell whose leaves it needs."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Somebody who is waited for, and what was last heard of him."""

    pod: str
    """namespace/name."""
    at: datetime | None = None
    """When it was heard; None: never."""
    bundle: str = ""
    """Fingerprint of the bundle that it trusts."""
    issuers: tuple[str, ...] = ()
    """Key identifiers of the authorities that it needs, that of its own leaf first; empty: it does not tell."""
    running: bool = True
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Straggler:
    """Who is waited for, and why."""

    pod: str
    reason: StragglerReason
    message: str
    """A sentence: what was seen of it, and what to do."""


def without_bundle(witnesses: Iterable[Witness], bundle: str, since: datetime, now: datetime) -> tuple[Straggler, ...]:
    """Who does not trust the bundle of now, which was published at `since`."""
    found = []
    for each in witnesses:
        if _waited_for(each, since, now):
            late = _unheard(each, since, now)
            if late is None and each.bundle != bundle:
                late = Straggler(each.pod, StragglerReason.OLD_BUNDLE, _ENDS if each.deleting else _LACKS_ROOT)
            if late is not None:
                found.append(late)
    return tuple(found)


def in_need_of(
    witnesses: Iterable[Witness], key_id: str, since: datetime, now: datetime, leaf_ttl: timedelta
) -> tuple[Straggler, ...]:
    """Who needs an authority that drains since then: its own leaf, or one that a tunnel rests on, is of it."""
    # By then everything it signed has expired: who is silent is not harmed, and who is heard can tell.
    outlived = now >= since + leaf_ttl
    found = []
    for each in witnesses:
        if _waited_for(each, since, now):
            late = _unheard(each, since, now)
            if late is not None and outlived:
                continue
            late = late or _needs(each, key_id)
            if late is not None:
                found.append(late)
    return tuple(found)


def _waited_for(witness: Witness, since: datetime, now: datetime) -> bool:
    if witness.deleting:
        # One that ends and still speaks ends by itself; one whose node is gone would stay for ever.
        return witness.running and witness.at is not None and now - witness.at <= SILENT
    return witness.running or now < since + STARTING


def _unheard(witness: Witness, since: datetime, now: datetime) -> Straggler | None:
    if not witness.running:
        until = format_time(since + STARTING)
        message = f"it does not run yet and may begin with what it was given before: it is waited for until {until}"
    elif witness.at is None:
        message = "no report of it is known: is it just starting, or cut off from the directory? See its log"
    elif now - witness.at > SILENT:
        heard = format_time(witness.at)
        message = f"it was last heard at {heard}: it has no connection to a directory; see its log, or restart the pod"
    elif witness.at < since:
        message = "it was not heard since then; sidecars report every 10 s"
    else:
        return None
    return Straggler(witness.pod, StragglerReason.UNREPORTED, message)


def _needs(witness: Witness, key_id: str) -> Straggler | None:
    if not witness.issuers:
        message = "its version does not tell whose leaves it needs: restart the pod, so that it gets the new sidecar"
        return Straggler(witness.pod, StragglerReason.NO_ISSUERS, message)
    if witness.issuers[0] == key_id:
        message = (
            "its leaf is of the old root: a new one is written at once and kubelet brings it within about 100 s; if it"
            " takes longer, look at the pod's Events and restart it"
        )
        return Straggler(witness.pod, StragglerReason.OLD_LEAF, message)
    if key_id in witness.issuers:
        message = (
            "a tunnel of its rests on a leaf of the old root: its peer renews it; if it takes longer, look at the log"
            " of both"
        )
        return Straggler(witness.pod, StragglerReason.OLD_TUNNEL, message)
    return None
