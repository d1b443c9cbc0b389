"""`spec.revoked` of a TrustDomain: who is trusted no more, and until when. Pure.

The one rule: an entry holds while it stands in the list, or until its `until`. One for a serial number is of no use
when that certificate has ended, so who writes it gives that time; one for an identity stays until it is taken back.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from handfast_sidecar.errors import BadSpiffeId
from handfast_sidecar.identity.revocation import Revocation, serial_text
from handfast_sidecar.identity.spiffe import SpiffeId

Raw = Mapping[str, Any]
MAX_REVOKED: Final = 256
"""Entries of a TrustDomain; its schema says so too. They are in the Secret of every pod."""


def parse_revoked(raw: Sequence[Raw] | None) -> tuple[Revocation, ...]:
    """What can be read of `spec.revoked`. Whom an unreadable entry means nobody can say, so it means nobody."""
    read = (_entry(each) for each in raw or ())
    return tuple(each for each in read if each is not None)[:MAX_REVOKED]


def in_force(entries: Iterable[Revocation], now: datetime) -> tuple[Revocation, ...]:
    """Those that hold at a time."""
    return tuple(each for each in entries if each.holds(now.timestamp()))


def next_end(entries: Iterable[Revocation], now: datetime) -> datetime | None:
    """When the first of them ends by itself; None: none does."""
    ends = [each.until for each in entries if each.until and each.holds(now.timestamp())]
    return datetime.fromtimestamp(min(ends), UTC) if ends else None


def serials(entries: Iterable[Revocation]) -> frozenset[str]:
    """Of single certificates."""
    return frozenset(each.serial for each in entries if each.serial)


def no_leaf(revocation: Revocation) -> str:
    """Why nothing is issued for an identity that is revoked, for the owner of its pods."""
    return (
        f"{revocation}. No certificate is issued for it, so a new pod of this service account does not start:"
        f" handfast revoke --undo {revocation.identity} takes it back"
    )


def _entry(raw: Raw) -> Revocation | None:
    identity, serial = raw.get("identity"), raw.get("serial")
    try:
        return Revocation(
            SpiffeId.parse(identity) if identity else None,
            serial_text(serial) if serial else "",
            str(raw.get("reason") or ""),
            _until(raw.get("until")),
        )
    except (BadSpiffeId, ValueError):
        return None


def _until(text: str | None) -> int:
    """An end that cannot be read is none: the entry holds."""
    try:
        moment = datetime.fromisoformat(text.upper()) if text else None
    except ValueError:
        return 0
    if moment is None:
        return 0
    return max(1, int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()))
