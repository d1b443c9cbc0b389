"""Who is trusted no more although its certificate still is: identities, and single certificates by their serial number.

The list is short and travels whole: in config.json, and faster by the directory. The one rule: a newer list replaces an
older one as a whole, and an entry that this version cannot read refuses nobody, while a list that it cannot read is
never taken for an empty one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from handfast_sidecar.errors import BadInput
from handfast_sidecar.identity.spiffe import SpiffeId

MAX_ENTRIES: Final = 1024
"""Of a list that is read; the operator's has 256 at most."""
_MAX_TIME: Final = 253_402_300_799
"""The last second of the year 9999."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry: an identity, or a serial number."""

    identity: SpiffeId | None = None
    serial: str = ""
    """As `Leaf.serial` has it."""
    reason: str = ""
    """What a person said, for people."""
    until: int = 0
    """Unix time from which on it holds no more; 0: while it stands in the list."""

    def holds(self, now: float) -> bool:
        """Whether it is in force at a Unix time."""
        return not self.until or now < self.until

    def __str__(self) -> str:
        what = str(self.identity) if self.identity is not None else f"the certificate with the serial {self.serial}"
        return f"{what} is revoked: {self.reason or 'no reason was given'}"


@dataclass(frozen=True)
class Revocations:
    """A version of the list."""

    revision: int = 0
    """Orders versions: the resourceVersion of the TrustDomain that it was read from."""
    entries: tuple[Revocation, ...] = field(default=())

    def of(self, identity: SpiffeId, serial: str, now: float) -> Revocation | None:
        """What revokes somebody at a Unix time."""
        if not self.entries:
            return None
        for found in (self._by_identity.get(identity), self._by_serial.get(serial)):
            if found is not None and found.holds(now):
                return found
        return None

    @cached_property
    def _by_identity(self) -> Mapping[SpiffeId, Revocation]:
        ordered = sorted(self.entries, key=_lasts)
        return {each.identity: each for each in ordered if each.identity is not None}

    @cached_property
    def _by_serial(self) -> Mapping[str, Revocation]:
        return {each.serial: each for each in sorted(self.entries, key=_lasts) if each.serial}

    def to_json(self) -> Json:
        """As config.json and the directory have it."""
        return {"revision": self.revision, "entries": [_entry_to_json(each) for each in self.entries]}

    @classmethod
    def from_json(cls, document: Any) -> "Revocations":
        """Read what `to_json` wrote. Raises BadInput."""
        try:
            revision, entries = document["revision"], document["entries"]
            if not isinstance(revision, int) or isinstance(revision, bool) or revision < 0:
                raise BadInput(f"revoked: {revision!r} is no revision")
            if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
                raise BadInput(f"revoked: expected a list of at most {MAX_ENTRIES} entries")
            read = (_entry(each) for each in entries)
            return cls(revision, tuple(each for each in read if each.identity is not None or each.serial))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"revoked: the list cannot be read: {error!r}") from error


def serial_text(text: str) -> str:
    """A serial number as people and tools write it (`0A:1b`, `0x0a1b`), as `Leaf.serial` has it. Raises ValueError."""
    digits = text.replace(":", "").replace(" ", "").lower().removeprefix("0x")
    if not digits or len(digits) > _SERIAL_DIGITS or set(digits) - set("0123456789abcdef"):
        raise ValueError(f"{text!r} is no serial number: expected up to {_SERIAL_DIGITS} hexadecimal digits")
    return f"{int(digits, 16):x}"


_SERIAL_DIGITS: Final = 40
"""20 bytes (RFC 5280 4.1.2.2)."""


def _lasts(entry: Revocation) -> tuple[bool, int]:
    """Of two for the same, the one that lasts longer counts."""
    return (not entry.until, entry.until)


def _entry_to_json(entry: Revocation) -> Json:
    document: Json = {"identity": str(entry.identity)} if entry.identity is not None else {"serial": entry.serial}
    if entry.reason:
        document["reason"] = entry.reason
    if entry.until:
        document["until"] = entry.until
    return document


def _entry(document: Json) -> Revocation:
    until = document.get("until", 0)
    if not isinstance(until, int) or isinstance(until, bool) or not 0 <= until <= _MAX_TIME:
        raise ValueError(f"{until!r} is no Unix time")
    identity, serial = document.get("identity"), document.get("serial")
    return Revocation(
        SpiffeId.parse(identity) if identity else None,
        serial_text(serial) if serial else "",
        str(document.get("reason", "")),
        until,
    )
