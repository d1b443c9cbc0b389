"""The clock of mode `Auto`: when a policy that is `Permissive` becomes `Strict`. Pure.

The one rule: only time that evidence covers counts. Whatever is seen of plaintext starts the clock anew; it stands from
the last report of a sidecar that is silent; and at its end every sidecar must have reported once more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from handfast_operator.resources.promotion import Promotion

UNREPORTED_AFTER: Final = timedelta(seconds=60)
"""Without a report for so long, nobody knows whom a sidecar serves; sidecars report every 10 s."""
LONGEST_SETTLE: Final = timedelta(minutes=10)


def settle_time(promote_after: timedelta) -> timedelta:
    """For how long after the last plaintext it counts as still seen, and how old a `lastSeen` in the status may be: a
    client that calls every few seconds must not cost a write of the status every few seconds."""
    return min(promote_after / 2, LONGEST_SETTLE)


@dataclass(frozen=True, slots=True)
class PodSight:
    """A live sidecar whose mode the policy decides."""

    name: str
    """namespace/name of the pod."""
    since: datetime
    """Since when it is known to run."""
    reported: datetime | None = None

    @property
    def heard(self) -> datetime:
        """Up to when it hides nothing from us; one that has just begun has nothing to say yet."""
        return self.since if self.reported is None else max(self.since, self.reported)

    def covers(self, until: datetime) -> bool:
        """Whether all that it served up to a time is known; one that began later served nothing. A report tells of all
        that was served before it, silence included."""
        return self.since > until or (self.reported is not None and self.reported >= until)


@dataclass(frozen=True, slots=True)
class Sight:
    """What the evidence says for one policy."""

    pods: Sequence[PodSight]
    plaintext: datetime | None = None
    """When the last plaintext connection was seen; open ones are seen now. Refusals are none."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a policy is, in whole seconds, rounded up: a second too late is never too early."""

    quiet_since: datetime
    """The promotion is due this plus `promoteAfter`; it moves on with the time for which the clock stood."""
    observed_from: datetime
    """When this process began to look: of what was before, it knows by reports alone."""
    paused_at: datetime | None = None
    promoted_at: datetime | None = None
    plaintext_at: datetime | None = None
    """The last plaintext that this process knows of."""


def start(known: Promotion, now: datetime) -> Clock:
    """Go on from a status; one that says nothing is a start. While plaintext is seen it says nothing either: then
    nobody knows until when, so it begins anew."""
    return Clock(
        quiet_since=known.quiet_since or whole_second(now),
        observed_from=now,
        paused_at=known.paused_at,
        promoted_at=known.promoted_at,
    )


def step(clock: Clock, now: datetime, sight: Sight, promote_after: timedelta) -> Clock:
    """What the clock is after a look; the same when nothing happened. Promoted stays promoted."""
    if clock.promoted_at is not None:
        return clock
    clock = _heard_of(clock, now, sight.plaintext)
    silent = stragglers(sight.pods, now)
    if silent or not sight.pods:
        if clock.paused_at is not None:
            return clock
        stood = min((pod.heard for pod in silent), default=now)
        return replace(clock, paused_at=whole_second(max(clock.quiet_since, stood)))
    if clock.paused_at is not None:
        counted = max(clock.paused_at - clock.quiet_since, timedelta())
        clock = replace(clock, quiet_since=whole_second(now - counted), paused_at=None)
    due = clock.quiet_since + promote_after
    if now >= due and all(pod.covers(max(due, clock.observed_from)) for pod in sight.pods):
        return replace(clock, promoted_at=whole_second(now))
    return clock


def _heard_of(clock: Clock, now: datetime, plaintext: datetime | None) -> Clock:
    """Nobody saw the future: a sidecar whose clock is ahead saw it now."""
    if plaintext is None:
        return clock
    seen = whole_second(min(plaintext, now))
    latest = seen if clock.plaintext_at is None else max(seen, clock.plaintext_at)
    return replace(clock, quiet_since=max(clock.quiet_since, seen), plaintext_at=latest)


def stragglers(pods: Iterable[PodSight], now: datetime) -> list[PodSight]:
    """Live sidecars that say nothing."""
    return [pod for pod in pods if pod.heard + UNREPORTED_AFTER <= now]


def still_seen(clock: Clock, now: datetime, promote_after: timedelta) -> bool:
    """Whether plaintext was seen a short time ago."""
    return clock.plaintext_at is not None and now < clock.plaintext_at + settle_time(promote_after)


def stored(clock: Clock, now: datetime, promote_after: timedelta) -> Promotion:
    """As the status keeps it. While plaintext is seen no time is written, because it would be older each second: who
    reads it back must not promote by a time that plaintext has overtaken."""
    if clock.promoted_at is not None:
        return Promotion(quiet_since=clock.quiet_since, promoted_at=clock.promoted_at)
    quiet_since = None if still_seen(clock, now, promote_after) else clock.quiet_since
    return Promotion(quiet_since, clock.paused_at)


def next_look(clock: Clock, now: datetime, sight: Sight, promote_after: timedelta) -> datetime | None:
    """When time alone changes something; None: only news does."""
    if clock.promoted_at is not None:
        return None
    times = [pod.heard + UNREPORTED_AFTER for pod in sight.pods]
    if clock.paused_at is None:
        times.append(clock.quiet_since + promote_after)
    if clock.plaintext_at is not None:
        times.append(clock.plaintext_at + settle_time(promote_after))
    return min((each for each in times if each > now), default=None)


def whole_second(time: datetime) -> datetime:
    """The next whole second."""
    return time if not time.microsecond else time.replace(microsecond=0) + timedelta(seconds=1)
