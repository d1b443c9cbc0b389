"""The trust domain as its status tells it: authorities, the rotation that is on its way, and who is waited for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from handfast_operator.authority.expiring import Life, Within, authority_within
from handfast_operator.cli.errors import CliError
from handfast_operator.cli.reader import Raw, Reader
from handfast_operator.cluster.kinds import TRUST_DOMAINS
from handfast_operator.resources.times import parse_time

ACTIVE, DRAINING, RETIRED = "Active", "Draining", "Retired"
IDLE, PAUSED = "Idle", "Paused"
_COMING: Final = frozenset({"Prepared", "Distributed"})


@dataclass(frozen=True, slots=True)
class Straggler:
    """Who is waited for."""

    pod: str
    """namespace/name."""
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Rotation:
    """How far the replacement of the root is."""

    state: str = IDLE
    authority: str = ""
    """The one that is on its way."""
    waiting: int = 0
    stragglers: tuple[Straggler, ...] = ()
    """Of those that are waited for, as many as the status names."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class AuthorityRow:
    """One authority."""

    name: str
    state: str
    since: datetime | None
    life: Life | None
    """None: the operator is of a version that does not tell when it was made."""
    ends: datetime | None
    source: str
    key_id: str
    pods: int | None
    """How many need it; None: not told."""
    within: Within | None = None


async def read_trust_domain(reader: Reader) -> Raw:
    """The one that the operator issues for. Raises CliError where there is none, ApiError."""
    found = await reader.many(TRUST_DOMAINS)
    served = [each for each in found if (each.get("status") or {}).get("authorities")]
    if served or len(found) == 1:
        return (served or found)[0]
    if found:
        raise CliError("no TrustDomain has an authority: is handfast-controller running?")
    raise CliError("there is no TrustDomain: is handfast-controller running?")


def rotation_of(raw: Raw) -> Rotation:
    """From the status; an operator that tells nothing does not rotate."""
    said: Mapping[str, Any] = (raw.get("status") or {}).get("rotation") or {}
    return Rotation(
        str(said.get("state") or IDLE),
        str(said.get("authority") or ""),
        int(said.get("waiting") or 0),
        tuple(
            Straggler(str(each["pod"]), str(each.get("reason") or ""), str(each.get("message") or ""))
            for each in said.get("stragglers") or ()
        ),
        str(said.get("message") or ""),
    )


def authorities_of(raw: Raw, now: datetime) -> list[AuthorityRow]:
    """From the status, the newest first, as they are there."""
    listed: list[Mapping[str, Any]] = list((raw.get("status") or {}).get("authorities") or ())
    coming = any(each["state"] in _COMING for each in listed)
    return [_row(each, coming, now) for each in listed]


def _row(said: Mapping[str, Any], coming: bool, now: datetime) -> AuthorityRow:
    begins, ends = _time(said.get("notBefore")), _time(said.get("notAfter"))
    life = Life(begins, ends) if begins is not None and ends is not None else None
    state = str(said["state"])
    within = None
    if life is not None and state != RETIRED:
        within = authority_within(now, life, replaced=state == DRAINING or (state == ACTIVE and coming))
    elif ends is not None and state != RETIRED and now >= ends:
        within = Within.EXPIRED
    pods = said.get("pods")
    return AuthorityRow(
        str(said["name"]),
        state,
        _time(said.get("since")),
        life,
        ends,
        str(said.get("source") or ""),
        str(said.get("keyIdentifier") or ""),
        int(pods) if pods is not None else None,
        within,
    )


def _time(text: Any) -> datetime | None:
    return parse_time(text) if text else None
