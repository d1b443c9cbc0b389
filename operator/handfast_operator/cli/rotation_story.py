"""What happens in a rotation, told line by line, each thing once; and when it is over. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from handfast_operator.cli.authorities import ACTIVE, IDLE, RETIRED, Straggler, authorities_of, rotation_of
from handfast_operator.cli.errors import NO, YES
from handfast_operator.cli.reader import Raw
from handfast_operator.resources.times import format_time


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked of the operator, and when it is reached."""

    asked: str
    """A sentence."""
    before: frozenset[str] | None = None
    """One that is none of these is to sign in the end; None: the rotation that is on its way is to end, however."""
    signer: str = ""
    """Who is to sign in the end; empty: nobody in particular."""
    at_once: bool = False
    """There is nothing to follow."""


@dataclass(slots=True)
class Story:
    """What was told of a rotation, so that each thing is told once."""

    states: dict[str, str]
    waiting: dict[str, Straggler] = field(default_factory=dict)
    state: str = ""

    def lines(self, raw: Raw, now: datetime) -> list[str]:
        """What is new."""
        said: list[str] = []
        rotation = rotation_of(raw)
        states = {each.name: each.state for each in authorities_of(raw, now)}
        # The Secret of one that is trusted no more is removed at once, so that often nobody sees it as Retired.
        gone = dict.fromkeys(self.states.keys() - states.keys(), RETIRED)
        for name, state in (states | gone).items():
            before = self.states.get(name)
            if before != state:
                said.append(f"{name}: {before} -> {state}" if before else f"{name}: {state}")
                self.states[name] = state
        if rotation.state != self.state:
            said.append(f"{rotation.state}{': ' if rotation.message else ''}{rotation.message}")
            self.state = rotation.state
        named = {each.pod: each for each in rotation.stragglers}
        for pod, straggler in named.items():
            known = self.waiting.get(pod)
            if known is None or known.reason != straggler.reason:
                said.append(f"  waits for {pod}: {straggler.reason}: {straggler.message}")
        said += [f"  no longer for {pod}" for pod in self.waiting if pod not in named]
        self.waiting = named
        stamp = now.strftime("%H:%M:%S")
        return [f"{stamp}  {line}" for line in said]


def outcome(raw: Raw, goal: Goal, story: Story, now: datetime) -> int | None:
    """The exit code where it is at rest; None: it goes on."""
    if rotation_of(raw).state != IDLE:
        return None
    authorities = authorities_of(raw, now)
    signing = [each.name for each in authorities if each.state == ACTIVE]
    if goal.signer:
        return YES if signing == [goal.signer] else None
    if goal.before is None:
        return YES
    if signing and not goal.before.issuperset(signing):
        return YES
    made = story.states.keys() - goal.before
    return NO if made and all(story.states[name] == RETIRED for name in made) else None


def ended(raw: Raw, code: int, now: datetime) -> str:
    """The last line."""
    signing = next(each for each in authorities_of(raw, now) if each.state == ACTIVE)
    until = f" until {format_time(signing.ends)}" if signing.ends is not None else ""
    return f"Done: {signing.name} signs{until}." if code == YES else f"Taken back: {signing.name} signs{until}."
