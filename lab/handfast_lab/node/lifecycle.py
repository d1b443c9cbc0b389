"""What is to be done with a pod's containers, decided from how they stand. Pure.

Init containers run one after another; one with restartPolicy Always (a native sidecar) goes on, and the next starts
when it has started. Then the application's containers run. When they have ended, or the pod is deleted, what runs of
the application ends first and the sidecars after it, last one first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, assert_never

BACK_OFF: Final = timedelta(seconds=10)
"""kubelet's: the first restart is at once, the second after this, each further one after twice as much."""
BACK_OFF_LIMIT: Final = timedelta(minutes=5)
BACK_OFF_FORGETS: Final = timedelta(minutes=10)
"""A run this long ends the back-off."""


class Kind(Enum):
    """A container's place in its pod."""

    INIT = "init"
    SIDECAR = "sidecar"
    MAIN = "main"


class Restart(Enum):
    """When an ended container starts again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True, slots=True)
class Waiting:
    """It has not run yet; a reason when something keeps it from running."""

    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """Its process is there."""

    started_at: datetime


@dataclass(frozen=True, slots=True)
class Terminated:
    """Its process has ended."""

    exit_code: int
    reason: str
    started_at: datetime
    finished_at: datetime
    signal: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """How one container stands."""

    name: str
    kind: Kind
    restart: Restart
    state: Waiting | Running | Terminated = Waiting()
    started: bool = False
    """It runs, and its startup probe and postStart hook have succeeded."""
    ready: bool = False
    restarts: int = 0
    not_before: datetime | None = None
    """A start before this would be too soon."""
    last: Terminated | None = None
    """How the run before this one ended."""

    @property
    def over(self) -> bool:
        """It has ended, and does not start again by itself."""
        match self.state, self.restart:
            case Terminated(), Restart.NEVER:
                return True
            case Terminated(exit_code=0), Restart.ON_FAILURE:
                return True
            case _:
                return False

    @property
    def succeeded(self) -> bool:
        """Its last run has ended with 0."""
        return isinstance(self.state, Terminated) and self.state.exit_code == 0


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now; then again when something changes, or at `wake_at`."""

    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    wake_at: datetime | None = None
    ending: bool = False
    """Nothing is started any more."""
    over: bool = False
    """Everything has ended, for good."""


def restart_of(kind: Kind, policy: str) -> Restart:
    """A container's own, from the pod's restartPolicy."""
    match kind:
        case Kind.SIDECAR:
            return Restart.ALWAYS
        case Kind.MAIN:
            return Restart(policy)
        case Kind.INIT:
            return Restart.NEVER if policy == Restart.NEVER.value else Restart.ON_FAILURE
        case _:
            assert_never(kind)


def decide(containers: Sequence[Container], now: datetime, *, ending: bool) -> Step:
    """The next step; `ending`: the pod is deleted."""
    before = [each for each in containers if each.kind is not Kind.MAIN]
    main = [each for each in containers if each.kind is Kind.MAIN]
    failed = any(each.kind is Kind.INIT and each.over and not each.succeeded for each in before)
    if ending or failed or all(each.over for each in main):
        return _end(containers)
    begun = any(not isinstance(each.state, Waiting) for each in main)
    wanted: list[Container] = []
    for each in before:
        if each.kind is Kind.INIT and (each.succeeded or begun):
            continue
        wanted.append(each)
        if not begun and (each.kind is Kind.INIT or not each.started):
            break
    else:
        wanted += main
    idle = [each for each in wanted if not isinstance(each.state, Running) and not each.over]
    later = [each.not_before for each in idle if each.not_before is not None and each.not_before > now]
    return Step(
        start=tuple(each.name for each in idle if each.not_before is None or each.not_before <= now),
        wake_at=min(later, default=None),
    )


def _end(containers: Sequence[Container]) -> Step:
    running = [each for each in containers if isinstance(each.state, Running)]
    others = [each.name for each in running if each.kind is not Kind.SIDECAR]
    last = [each.name for each in running if each.kind is Kind.SIDECAR][-1:]
    return Step(stop=tuple(others or last), ending=True, over=not running)


def back_off(run_s: float, before: timedelta | None) -> timedelta:
    """How long to wait after a run that has ended, and before the next; `before`: after the one before."""
    if before is None or run_s >= BACK_OFF_FORGETS.total_seconds():
        return timedelta()
    return min(max(BACK_OFF, 2 * before), BACK_OFF_LIMIT)
