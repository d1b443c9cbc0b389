"""What a policy of mode `Auto` says of itself: how far it is, and who stands in the way, by name. Pure.

The one rule: it changes when something happened, and not because time passes: each change is a write of a status.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from handfast_operator.policy.plaintext import MOST_LISTED, Clients, PlaintextClient
from handfast_operator.policy.promotion import (
    UNREPORTED_AFTER,
    Clock,
    PodSight,
    Sight,
    settle_time,
    still_seen,
    stored,
    stragglers,
    whole_second,
)
from handfast_operator.policy.words import some
from handfast_operator.resources.conditions import Condition
from handfast_operator.resources.durations import format_duration
from handfast_operator.resources.promotion import Promotion, promotion_to_json
from handfast_operator.resources.times import format_time

MOST_NAMED: Final = 3
"""In a sentence."""
BETWEEN_LISTS: Final = timedelta(minutes=1)
"""Between two lists that name others: addresses of the internet come and go without end."""
PROMOTED: Final = "Promoted"
"""The condition, and its reason once it holds."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ClientList:
    """Plaintext clients as written."""

    clients: Clients = field(default_factory=Clients)
    at: datetime | None = None
    """When it was made; None: nothing was written yet."""


@dataclass(frozen=True, slots=True)
class Report:
    """A policy's promotion as its status shows it."""

    promotion: Promotion
    listed: ClientList
    condition: Condition

    def to_json(self, known: Json) -> Json:
        """A merge patch of the status, whose promotion is `known` now."""
        promotion = promotion_to_json(self.promotion)
        return {
            "promotion": {**dict.fromkeys(known.keys() - promotion.keys()), **promotion},
            "plaintextClients": [_client_to_json(each) for each in self.listed.clients.newest],
            "plaintextClientsTotal": self.listed.clients.total,
        }


NOTHING: Final[Json] = {"promotion": None, "plaintextClients": None, "plaintextClientsTotal": None}
"""The merge patch of a policy whose mode is not `Auto`."""


def report(
    clock: Clock,
    now: datetime,
    sight: Sight,
    clients: Clients,
    promote_after: timedelta,
    before: Report | None,
) -> Report:
    """What is to be said; equal to what was said before when that still holds."""
    promotion = stored(clock, now, promote_after)
    if clock.promoted_at is not None:
        return Report(promotion, ClientList(), _promoted(clock.promoted_at))
    seen = still_seen(clock, now, promote_after)
    anew = before is None or (before.promotion.quiet_since is None) != seen
    old = ClientList() if before is None else before.listed
    listed = ClientList(clients, now) if anew or _outdated(old, clients, now, settle_time(promote_after)) else old
    if clock.paused_at is not None:
        condition = _paused(clock.paused_at, stragglers(sight.pods, now))
    elif seen:
        condition = _plaintext(listed, clock.plaintext_at, promote_after)
    else:
        condition = _waiting(clock.quiet_since, promote_after)
    return Report(promotion, listed, condition)


def next_list(before: Report, clients: Clients) -> datetime | None:
    """When a list that names others may be written; None: it names them all."""
    return (
        None if before.listed.at is None or _same(before.listed.clients, clients) else before.listed.at + BETWEEN_LISTS
    )


def _outdated(old: ClientList, clients: Clients, now: datetime, settle: timedelta) -> bool:
    if not _same(old.clients, clients) and (old.at is None or not old.clients.total or now >= old.at + BETWEEN_LISTS):
        return True
    written = {each.key: each.last_seen for each in old.clients.newest}
    return any(each.last_seen >= written.get(each.key, each.last_seen) + settle for each in clients.newest)


def _same(old: Clients, clients: Clients) -> bool:
    """Whether they are the same clients; of more than are listed, whether they are as many."""
    if old.total != clients.total:
        return False
    return old.total > MOST_LISTED or {each.key for each in old.newest} == {each.key for each in clients.newest}


def _promoted(at: datetime) -> Condition:
    return Condition(
        PROMOTED,
        True,
        PROMOTED,
        f"Strict since {format_time(at)}: plaintext is refused. To let it in again, set mode to Permissive.",
    )


def _paused(since: datetime, silent: Sequence[PodSight]) -> Condition:
    if not silent:
        return Condition(
            PROMOTED,
            False,
            "SelectsNothing",
            f"The clock stands since {format_time(since)}: no pod with a running sidecar takes its mode from this "
            "policy.",
        )
    names = some(sorted(each.name for each in silent), MOST_NAMED)
    return Condition(
        PROMOTED,
        False,
        "Unreported",
        f"The clock stands since {format_time(since)}: for {UNREPORTED_AFTER.seconds} s no report came from the "
        f"sidecar of {names}. Does it reach handfast-directory? Its log says.",
    )


def _plaintext(listed: ClientList, at: datetime | None, promote_after: timedelta) -> Condition:
    names = some([f"{each} (port {each.port})" for each in listed.clients.newest], MOST_NAMED, listed.clients.total)
    if names:
        told = f"Plaintext comes from {names}: give these clients a sidecar."
    else:  # the directory that knew them is gone
        told = f"Plaintext was seen at {format_time(at)}." if at is not None else "Plaintext was seen."
    return Condition(
        PROMOTED,
        False,
        "PlaintextSeen",
        f"{told} Strict {format_duration(promote_after)} after the last of it.",
    )


def _waiting(quiet_since: datetime, promote_after: timedelta) -> Condition:
    return Condition(
        PROMOTED,
        False,
        "WaitingForQuiet",
        f"No plaintext is seen: Strict at {format_time(quiet_since + promote_after)}, unless a client without a "
        "sidecar connects.",
    )


def _client_to_json(client: PlaintextClient) -> Json:
    where = {"namespace": client.namespace} if client.namespace else {}
    return {
        **where,
        "name": client.name,
        "port": client.port,
        "lastSeen": format_time(whole_second(client.last_seen)),
    }
