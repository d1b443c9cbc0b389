"""What has happened to a request or a grant, in its status: at most ten entries, the oldest first. Pure.

Most entries are derived from what the objects say, with their own times, so that they are found again and not written
twice. What nobody dates (a change, a deletion) has the time at which it was noticed, and is kept from then on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]
MAX_ENTRIES: Final = 10

REQUESTED: Final = "Requested"
CHANGED: Final = "Changed"
APPROVED: Final = "Approved"
DENIED: Final = "Denied"
REVOKED: Final = "Revoked"
EXPIRED: Final = "Expired"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that has happened."""

    time: str
    """RFC 3339 in UTC, to the second: it sorts."""
    event: str
    message: str
    by: str = ""
    """As the answerer said of himself; empty: nobody said."""
    grant: str = ""
    """Name of the grant; empty: it is about the request."""

    def to_json(self) -> Json:
        document: Json = {"time": self.time, "event": self.event, "message": self.message}
        return document | {name: value for name, value in (("by", self.by), ("grant", self.grant)) if value}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Entry":
        """As `to_json` wrote it."""
        return cls(*(str(raw.get(name, "")) for name in ("time", "event", "message", "by", "grant")))


def read_history(status: Mapping[str, Any]) -> list[Entry]:
    """The history in a status."""
    return [Entry.from_json(each) for each in status.get("history") or ()]


def merge_history(known: Sequence[Entry], found: Iterable[Entry]) -> list[Entry]:
    """What is known and what was found, once each, the last ten of them."""
    marks = {_mark(each) for each in known}
    new = [each for each in found if _mark(each) not in marks]
    return sorted([*known, *new], key=lambda each: each.time)[-MAX_ENTRIES:]


def news(before: Sequence[Entry], after: Sequence[Entry]) -> list[Entry]:
    """What a history says that the one before it did not."""
    marks = {_mark(each) for each in before}
    return [each for each in after if _mark(each) not in marks]


def _mark(entry: Entry) -> tuple[str, str, str]:
    return (entry.time, entry.event, entry.grant)
