"""How renewals of very many pods fall into time: the operator's schedule, queue and pace, by a simulated clock.

A write costs no time here, and a leaf is only its times: it is the crowd that is looked at, not who serves it.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from handfast_bench.rounds import say
from handfast_control.figures import Row, Table
from handfast_control.simulated import START, SimulatedTime
from handfast_operator.authority.schedule import renew_at
from handfast_operator.controller.timing import Pace, TokenBucket
from handfast_operator.controller.work_queue import WorkQueue

PODS: Final = 100_000
TTL: Final = timedelta(hours=24)
APPEAR: Final = timedelta(minutes=1)
"""In which all of them are created."""
OUTAGE: Final = TTL / 2
COLUMNS: Final = {
    "renewals": "leaves",
    "over": "over, s",
    "mean": "a second, mean",
    "worst": "worst second",
    "ratio": "worst to mean",
    "late": "after it was due, at most, s",
}


@dataclass(frozen=True, slots=True)
class Issued:
    """One leaf."""

    due_s: float
    """Seconds of the simulation, as all of these."""
    at_s: float


@dataclass(frozen=True, slots=True)
class Spread:
    """How events fall into seconds."""

    count: int
    over_s: float
    """From the first to the end of the last one's second."""
    worst: int
    """In one second."""

    @property
    def mean(self) -> float:
        """A second."""
        return self.count / self.over_s

    @property
    def ratio(self) -> float:
        """1: each second has as many as any other."""
        return self.worst / self.mean


def spread(moments_s: Iterable[float]) -> Spread:
    """Of events at these seconds; of none, ValueError."""
    seconds = Counter(int(each) for each in moments_s)
    return Spread(seconds.total(), max(seconds) - min(seconds) + 1, max(seconds.values()))


class Cluster:
    """Pods whose only property is their UID, and the part of the issuer that decides when each is served."""

    def __init__(self, pods: int, pace: Pace) -> None:
        self.time = SimulatedTime()
        self._pace = pace
        self._bucket = TokenBucket(pace.rate, pace.burst, self.time)
        self._queue: WorkQueue[int] = WorkQueue()
        self._waiting = 0
        """Workers that wait for the bucket."""
        self._due: dict[int, float] = {}
        self._away_until: datetime = START
        self.issued: list[Issued] = []
        for pod in range(pods):
            self._arm(pod, START + APPEAR * (pod / pods))

    async def run(self, until: timedelta, *, away: tuple[timedelta, timedelta] | None = None) -> None:
        """From the start until then; `away`: from when to when the API server is not there."""
        workers = [asyncio.create_task(self._work()) for _ in range(self._pace.in_flight)]
        if away is not None:
            self.time.call_at(START + away[0], lambda: self._leave(START + away[1]))
        await self.time.run(until, self._idle)
        for each in workers:
            each.cancel()
        await asyncio.wait(workers)

    def between(self, first: timedelta, last: timedelta) -> list[Issued]:
        """The leaves that were issued then."""
        return [each for each in self.issued if first.total_seconds() <= each.at_s < last.total_seconds()]

    def _idle(self) -> bool:
        return self._waiting == self._pace.in_flight or self._queue.idle or (not self._queue and self._waiting > 0)

    def _leave(self, until: datetime) -> None:
        self._away_until = until

    def _arm(self, pod: int, when: datetime) -> None:
        self._due[pod] = (when - START).total_seconds()
        self.time.call_at(when, lambda: self._look_at(pod))

    def _look_at(self, pod: int) -> None:
        """Whoever is due while the API server is away is looked at by the controller that starts after it."""
        if self.time.now() < self._away_until:
            self.time.call_at(self._away_until, lambda: self._queue.add(pod))
        else:
            self._queue.add(pod)

    async def _work(self) -> None:
        while True:
            pod = await self._queue.get()
            self._waiting += 1
            await self._bucket.take()
            self._waiting -= 1
            now = self.time.now()
            self.issued.append(Issued(self._due[pod], self.time.elapsed_s))
            self._arm(pod, renew_at(now, now + TTL, f"00000000-0000-4000-8000-{pod:012}"))
            self._queue.done(pod)


async def renewals(pods: int = PODS) -> Table:
    """Measure."""
    pace = Pace()
    first = Cluster(pods, pace)
    # A leaf lives 24 h and is renewed from 8 h to 10 h after it was issued, so rounds do not overlap at first.
    await first.run(timedelta(hours=22))
    hours = [timedelta(hours=each) for each in (0, 4, 13, 22)]
    rows = [
        _row(f"{pods:,} pods that appear in one minute: the first leaf", first.between(hours[0], hours[1])),
        _row("their first renewal", first.between(hours[1], hours[2])),
        _row("their second renewal", first.between(hours[2], hours[3])),
    ]
    second = Cluster(pods, pace)
    away = timedelta(hours=6), timedelta(hours=6) + OUTAGE
    await second.run(timedelta(hours=32), away=away)
    rows.append(_row(f"{pods:,} pods after an outage of half a life", second.between(away[1], timedelta(hours=19))))
    rows.append(_row("their renewal after that", second.between(timedelta(hours=24), timedelta(hours=32))))
    for row in rows:
        say(f"{row.what}: {row.figures['mean']:.1f} a second, {row.figures['worst']:.0f} in the worst")
    return Table("renewals", "How renewals are spread (simulated clock, leaves of 24 h)", COLUMNS, rows)


def _row(what: str, leaves: list[Issued]) -> Row:
    found = spread(each.at_s for each in leaves)
    figures: Mapping[str, float | None] = {
        "renewals": found.count,
        "over": found.over_s,
        "mean": found.mean,
        "worst": found.worst,
        "ratio": found.ratio,
        "late": max(each.at_s - each.due_s for each in leaves),
    }
    return Row(what, figures)
