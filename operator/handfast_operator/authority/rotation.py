"""What is to be done next about the authorities of a trust domain. Pure: what is known in, one step or a wait out.

    Prepared -> Distributed     at once; it is in every bundle that is written from then on
    Distributed -> Active       when everybody trusts it; the one that signed becomes Draining
    Draining -> Retired         when nobody needs it any more

Its one rule: one step at a time, each of which leaves a state from which the next look goes on, whoever takes it: so
it does not matter where a controller dies. Requests steer it (`RotationSpec`), and the clock beats them all.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from handfast_operator.authority.authority import Authority, AuthoritySet, NoAuthority
from handfast_operator.authority.gates import Straggler, in_need_of, without_bundle
from handfast_operator.authority.margins import Margins, margins
from handfast_operator.authority.state import AuthorityState
from handfast_operator.authority.steps import Move, Note, Phase, Plan, Prepare, Remove, Situation, Step, Why
from handfast_operator.resources.times import format_time
from handfast_operator.resources.trust_domain import RotationSpec

LOOK_AGAIN: Final = timedelta(seconds=10)
"""While somebody is waited for; what he reports is looked at as it comes."""
MADE_KNOWN: Final = timedelta(minutes=3)
"""The clock gives a new root this long to reach the pods: kubelet takes up to 100 s."""
_NEWCOMERS: Final = (AuthorityState.PREPARED, AuthorityState.DISTRIBUTED)


def plan(now: datetime, authorities: AuthoritySet, situation: Situation) -> Plan:
    """The next step, or what is waited for."""
    try:
        signer = authorities.active
    except NoAuthority as error:
        return Plan(Phase.IDLE, str(error), look_at=now + LOOK_AGAIN)
    found = _Planner(now, authorities, situation, signer).plan()
    return found if found.step is not None or found.look_at is not None else replace(found, look_at=now + LOOK_AGAIN)


@dataclass(frozen=True)
class _Planner:
    now: datetime
    authorities: AuthoritySet
    situation: Situation
    signer: Authority

    def plan(self) -> Plan:
        begun = self._finish()
        waiting = self._waiting()
        if begun is not None:
            return replace(waiting, step=begun)
        if self.spec.paused and not self.late:
            message = f"paused by spec.rotation.paused: {waiting.message}"
            return replace(waiting, phase=Phase.PAUSED, step=None, message=message)
        if self.spec.paused:
            ends = format_time(self.signer.ends)
            message = f"spec.rotation.paused holds no longer, {self.signer.name} ends at {ends}: {waiting.message}"
            waiting = replace(waiting, message=message)
        for decide in (self._take_back, lambda: waiting.step, self._start):
            step = decide()
            if step is not None:
                return replace(waiting, step=step)
        return waiting

    # --- what is known

    @property
    def spec(self) -> RotationSpec:
        return self.situation.spec

    @cached_property
    def margins(self) -> Margins:
        return margins(self.signer, self.situation.leaf_ttl)

    @cached_property
    def late(self) -> bool:
        """The clock is in force."""
        return self.now >= self.signer.ends - self.margins.clock

    @cached_property
    def newcomer(self) -> Authority | None:
        """The one that is to sign next."""
        return max(self._in(*_NEWCOMERS), key=lambda each: (each.number, each.entered), default=None)

    @cached_property
    def drained(self) -> Authority | None:
        """The one that drains, of several the one that began first."""
        return min(self._in(AuthorityState.DRAINING), key=lambda each: each.entered, default=None)

    def _in(self, *states: AuthorityState) -> list[Authority]:
        return [each for each in self.authorities.authorities if each.state in states]

    def _named(self, name: str) -> Authority | None:
        return next((each for each in self.authorities.authorities if each.name == name), None)

    # --- what was begun, and is finished in any case

    def _finish(self) -> Step | None:
        for each in self._in(AuthorityState.ACTIVE):
            if each is not self.signer:
                return Move(each, AuthorityState.DRAINING, Why.NEXT, each.trigger)
        for each in self._in(AuthorityState.RETIRED):
            return Remove(each)
        for each in self._in(*_NEWCOMERS):
            if each is not self.newcomer:
                return Move(each, AuthorityState.RETIRED, Why.NEXT, each.trigger)
        for each in self.authorities.authorities:
            if each.forced and self.spec.force != each.name:
                return Note(replace(each, forced=False))
        return None

    # --- the states in which somebody is waited for

    def _waiting(self) -> Plan:
        if self.newcomer is not None and self.newcomer.state is AuthorityState.PREPARED:
            step = Move(self.newcomer, AuthorityState.DISTRIBUTED, Why.NEXT, self.newcomer.trigger)
            return Plan(Phase.DISTRIBUTING, f"{self.newcomer.name} is about to be made known", self.newcomer, step)
        if self.newcomer is not None:
            return self._distributing(self.newcomer)
        if self.drained is not None:
            return self._draining(self.drained)
        return self._idle()

    def _distributing(self, newcomer: Authority) -> Plan:
        since, witnesses = newcomer.entered, self.situation.witnesses
        late = without_bundle(witnesses, self.authorities.fingerprint, since, self.now)
        known = self.now >= since + MADE_KNOWN or self.now >= self.signer.ends
        why = self._leaves(newcomer, late, by_clock=self.late and known)
        if why is Why.EVIDENCE and self.now < newcomer.credible_from and not self.late:
            from_then = f"{newcomer.name} signs from {format_time(newcomer.credible_from)} on"
            message = f"{from_then}: before that, pods whose clocks are behind would not believe it"
            return Plan(Phase.DISTRIBUTING, message, newcomer)
        step = Move(newcomer, AuthorityState.ACTIVE, why, newcomer.trigger, late) if why else None
        message = f"{newcomer.name} signs as soon as everybody trusts it{self._steering(newcomer, late)}"
        return Plan(Phase.DISTRIBUTING, message, newcomer, step, late)

    def _draining(self, drained: Authority) -> Plan:
        since, ttl = drained.entered, self.situation.leaf_ttl
        late = in_need_of(self.situation.witnesses, drained.key_id, since, self.now, ttl)
        hurry = self.now >= self.signer.ends - self.margins.hurry and self.now >= since + ttl
        why = self._leaves(drained, late, by_clock=hurry or self.now >= drained.ends)
        if why is None and drained.key_id == self.signer.key_id and self.now >= since + ttl:
            # Renewed with its old key: no report tells their leaves apart, but by now the old ones have ended.
            why, late = Why.EVIDENCE, ()
        step = Move(drained, AuthorityState.RETIRED, why, drained.trigger, late) if why else None
        message = (
            f"{self.signer.name} signs; {drained.name} is trusted until nobody needs it{self._steering(drained, late)}"
        )
        return Plan(Phase.DRAINING, message, drained, step, late)

    def _leaves(self, authority: Authority, late: tuple[Straggler, ...], *, by_clock: bool) -> Why | None:
        """Why an authority leaves its state now; None: it does not."""
        if not late:
            return Why.EVIDENCE
        if by_clock:
            return Why.CLOCK
        if self.spec.force == authority.name and not authority.forced:
            return Why.FORCE
        return None

    def _steering(self, authority: Authority, late: tuple[Straggler, ...]) -> str:
        if not late:
            return ""
        if self.spec.force == authority.name and authority.forced:
            return f"; spec.rotation.force was obeyed for {authority.name} once: leave it out, then name it again"
        return f"; to wait for nobody, name {authority.name} in spec.rotation.force"

    def _idle(self) -> Plan:
        ends, by_itself = format_time(self.signer.ends), self.signer.ends - self.margins.start
        message = f"{self.signer.name} signs until {ends}; nothing is asked for"
        if self.situation.source == "":
            message = f"{self.signer.name} signs until {ends}; a new root begins by itself at {format_time(by_itself)}"
        if self._held():
            message = f"no rotation begins while spec.rotation.back names {self.signer.name}: leave it out"
        elif self.spec.back:
            message = f"{message}; {self.spec.back} cannot sign again, as spec.rotation.back asks: it is gone, or ends"
        elif self._asked() and self.situation.source is None:
            message = "a rotation is asked for, and the external issuer is of no use: see the condition IssuerAccepted"
        elif self._asked() and self.situation.source:
            message = "a rotation is asked for: it begins when the external issuer's Secret holds another certificate"
        return Plan(Phase.IDLE, message, look_at=by_itself if self.now < by_itself else None)

    # --- what is asked for

    def _take_back(self) -> Step | None:
        """Let the one sign that `back` names."""
        named = self._named(self.spec.back) if self.spec.back else None
        if named is None:
            return None
        answered = self.authorities.newest.trigger if self.authorities.newest is not None else ""
        if named is self.signer and self.newcomer is not None and self._held():
            if named.trigger != answered:
                # Noted first: the one that is retired takes what it answered with it.
                return Note(replace(named, trigger=answered))
            return Move(self.newcomer, AuthorityState.RETIRED, Why.BACK, answered)
        lasts = self.now < named.ends - margins(named, self.situation.leaf_ttl).clock
        if named.state is AuthorityState.DRAINING and lasts:
            return Move(named, AuthorityState.ACTIVE, Why.BACK, answered)
        return None

    def _held(self) -> bool:
        return self.spec.back == self.signer.name and not self.late

    def _asked(self) -> bool:
        newest = self.authorities.newest
        return bool(self.spec.trigger) and (newest is None or newest.trigger != self.spec.trigger)

    def _start(self) -> Step | None:
        if self.newcomer is not None or self.drained is not None or self._held():
            return None
        why = self._begins()
        return Prepare(why, self.spec.trigger) if why is not None else None

    def _begins(self) -> Why | None:
        source, newest = self.situation.source, self.authorities.newest
        known = {self.signer.source, newest.source if newest is not None else ""}
        if source is None:
            # An issuer of no use must not become an outage: before the end comes, a root of our own follows.
            due = self.margins.hurry if self.signer.source else self.margins.start
            return Why.AGE if self.now >= self.signer.ends - due else None
        if source:
            return Why.ISSUER if source not in known else None
        if self.signer.source:
            return Why.ISSUER
        if self._asked():
            return Why.REQUEST
        return Why.AGE if self.now >= self.signer.ends - self.margins.start else None
