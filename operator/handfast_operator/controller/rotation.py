"""Carries out the plan of `authority.rotation`: reads what it rests on, writes its steps, tells who must know.

Its one rule: it is level-triggered. Evidence, the TrustDomain and time only say that it is to look; what is done
follows from what is true then, one step after the other, each written before anybody acts on it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, assert_never

import aiohttp

from handfast_operator.authority.authority import AuthoritySet
from handfast_operator.authority.gates import Witness
from handfast_operator.authority.rotation import plan
from handfast_operator.authority.state import AuthorityState
from handfast_operator.authority.steps import Move, Note, Offer, Phase, Plan, Prepare, Remove, Situation, Step
from handfast_operator.authority.storage import AuthorityStorage, new_root
from handfast_operator.cluster.client import ApiError
from handfast_operator.controller.rotation_news import RotationNews
from handfast_operator.controller.timing import SystemTime, Time
from handfast_operator.controller.trust_domain import OwnTrustDomain
from handfast_sidecar.errors import HandfastError

log = logging.getLogger(__name__)

LEAST: Final = timedelta(seconds=0.5)
"""Between two looks: evidence comes from each replica by itself."""
READ_AGAIN: Final = timedelta(minutes=1)
"""At the latest after this the Secrets are read: somebody may have deleted or restored one."""
RETRY: Final = timedelta(seconds=5)
MOST_STEPS: Final = 12
"""Of one look: a whole rotation has eight."""
Told = Callable[[AuthoritySet], object]


@dataclass(frozen=True, slots=True)
class Sources:
    """What a plan rests on, as of now."""

    sidecars: Callable[[], Sequence[Witness]]
    leaf_ttl: Callable[[], timedelta]
    """The longest life of a leaf in force."""
    servers: Callable[[], Sequence[Witness]] = tuple
    """The operator's own, which sidecars and the API server connect to."""
    offer: Callable[[], Offer | None] = lambda: None
    """Of the external issuer; None: the operator makes its roots itself."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the status tells."""

    authorities: AuthoritySet
    plan: Plan
    pods: Mapping[str, int] = field(default_factory=dict)
    """How many need an authority, by its name."""
    offer: Offer | None = None


class Rotation:
    """The authorities of this trust domain, and their replacement."""

    def __init__(
        self,
        storage: AuthorityStorage,
        trust_domain: OwnTrustDomain,
        sources: Sources,
        news: RotationNews,
        time: Time | None = None,
    ) -> None:
        self._storage, self._trust_domain, self._sources, self._news = storage, trust_domain, sources, news
        self._time = time or SystemTime()
        self._standing: Standing | None = None
        self._read_at: datetime | None = None
        """When the Secrets were read; None: they must be."""
        self._listeners: list[Told] = []
        self._wake = asyncio.Event()
        self._followers: list[Callable[[], object]] = []
        trust_domain.subscribe(self.wake)

    @property
    def standing(self) -> Standing:
        """As of the last look."""
        if self._standing is None:
            raise RuntimeError("the authorities are used before they were read")
        return self._standing

    @property
    def authorities(self) -> AuthoritySet:
        """As last read or written."""
        return self.standing.authorities

    def subscribe(self, listener: Told) -> None:
        """Be given the authorities when others sign or are trusted."""
        self._listeners.append(listener)

    def follow(self, follower: Callable[[], object]) -> None:
        """Hear that `standing` is another one."""
        self._followers.append(follower)

    def wake(self) -> None:
        """Look: something that a plan rests on is another one."""
        self._wake.set()

    async def begin(self) -> None:
        """Have an authority that signs. Raises ApiError."""
        await self._trust_domain.ensure()
        await self._read()

    async def run(self) -> None:
        """Look after them until cancelled; `begin` comes before."""
        while True:
            self._wake.clear()
            try:
                again = await self.look()
            except (ApiError, HandfastError, aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("cannot look after the authorities, trying again", extra={"error": str(error)})
                # What was written, and what was not, is known by reading alone.
                self._read_at = None
                again = self._time.now() + RETRY
            await self._rest(LEAST, None)
            await self._rest(again - self._time.now(), self._wake)

    async def look(self) -> datetime:
        """Take every step that can be taken; when to look again. Raises ApiError."""
        now = self._time.now()
        if self._read_at is None or now >= self._read_at + READ_AGAIN:
            await self._trust_domain.ensure()
            await self._read()
        read_at = self._read_at or now
        for _ in range(MOST_STEPS):
            now = self._time.now()
            offer, sidecars = self._sources.offer(), self._sources.sidecars()
            witnesses = (*sidecars, *self._sources.servers())
            source = "" if offer is None else offer.source
            spec = self._trust_domain.now.rotation
            made = plan(now, self.authorities, Situation(spec, self._sources.leaf_ttl(), witnesses, source))
            self._tell(Standing(self.authorities, made, _pods(self.authorities, sidecars), offer), now)
            if made.step is None:
                return min(made.look_at or now, read_at + READ_AGAIN)
            await self._take(made.step, offer, now)
        return now + RETRY

    async def _rest(self, delay: timedelta, until: asyncio.Event | None) -> None:
        """So long, or until the event."""
        waking = until or asyncio.Event()
        timer = self._time.call_at(self._time.now() + delay, waking.set)
        try:
            await waking.wait()
        finally:
            timer.cancel()

    # --- one step

    async def _read(self) -> None:
        now, domain, offer = self._time.now(), self._trust_domain.now, self._sources.offer()
        found = await self._storage.ensure(
            now,
            domain.root_ttl,
            trigger=domain.rotation.trigger,
            signer=offer.signer if offer is not None else None,
        )
        self._read_at = now
        self._hold(found)

    async def _take(self, step: Step, offer: Offer | None, now: datetime) -> None:
        log.info("rotation", extra={"step": type(step).__name__, "detail": _words(step)})
        found, entered = self.authorities, _entered(self.authorities, now)
        match step:
            case Prepare():
                domain = self._trust_domain.now
                signer = offer.signer if offer is not None else None
                signer = signer or new_root(domain.name, now, domain.root_ttl)
                found = found.having(await self._storage.prepare(signer, entered, step.trigger))
            case Move():
                forced = step.authority.forced or step.forced
                moved = await self._storage.move(
                    step.authority, step.state, entered, trigger=step.trigger, forced=forced
                )
                found = found.having(moved)
                # Before anybody acts on it: a restart must never forget whom somebody was told to trust.
                await self._storage.publish(found)
            case Note():
                found = found.having(await self._storage.rewrite(step.authority))
            case Remove():
                found = await self._storage.remove(step.authority, found)
            case _:
                assert_never(step)
        self._hold(found)
        self._news.taken(step, found)

    def _hold(self, found: AuthoritySet) -> None:
        """Know these from now on, and give them to those who sign and tell."""
        before = self._standing
        if before is not None:
            self._news.lost(set(found.remembered) - set(before.authorities.remembered), found)
        nothing = Plan(Phase.IDLE, "the controller has just begun")
        self._standing = replace(before, authorities=found) if before is not None else Standing(found, nothing)
        if before is None or _effect(before.authorities) != _effect(found):
            for listener in self._listeners:
                listener(found)
        self._tell_followers()

    def _tell(self, standing: Standing, now: datetime) -> None:
        before, self._standing = self._standing, standing
        self._news.seen(standing.plan, standing.authorities, standing.pods, now)
        if before != standing:
            self._tell_followers()

    def _tell_followers(self) -> None:
        for follower in self._followers:
            follower()


def _effect(authorities: AuthoritySet) -> tuple[object, ...]:
    """What others act on: who signs, who is trusted, and whose leaves are replaced."""
    signs = [each.serial for each in authorities.authorities if each.state is AuthorityState.ACTIVE]
    return (
        authorities.fingerprint,
        authorities.active.serial if signs else "",
        authorities.draining,
        authorities.issuers,
    )


def _entered(authorities: AuthoritySet, now: datetime) -> datetime:
    """Now, and after every state that was entered before, whatever the clock of that controller said."""
    known = (each.since for each in authorities.authorities if each.since is not None)
    return max((now.replace(microsecond=0), *(each + timedelta(seconds=1) for each in known)))


def _pods(authorities: AuthoritySet, sidecars: Sequence[Witness]) -> Mapping[str, int]:
    needed = Counter(key_id for each in sidecars for key_id in set(each.issuers))
    return {each.name: needed[each.key_id] for each in authorities.authorities}


def _words(step: Step) -> str:
    match step:
        case Prepare():
            return f"a new authority, by {step.why}"
        case Move():
            return f"{step.authority.name} becomes {step.state}, by {step.why}"
        case Note() | Remove():
            return step.authority.name
        case _:
            assert_never(step)
