"""Any sequence of what may happen in a root rotation: who is live is never left behind, but by clock or force."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from handfast_operator.authority.authority import NAME_PREFIX, Authority, AuthoritySet
from handfast_operator.authority.gates import Witness
from handfast_operator.authority.rotation import plan
from handfast_operator.authority.state import IN_BUNDLE, AuthorityState, check_transition
from handfast_operator.authority.steps import Move, Note, Phase, Plan, Prepare, Remove, Situation, Step
from handfast_operator.authority.storage import new_root
from handfast_operator.resources.trust_domain import RotationSpec

LEAF, ROOT = timedelta(hours=6), timedelta(days=5)
SECOND = timedelta(seconds=1)
BEGUN = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNDER_WAY = frozenset({AuthorityState.PREPARED, AuthorityState.DISTRIBUTED, AuthorityState.DRAINING})
FLEET = ["a", "b", "c"]


@dataclass
class Sidecar:
    """A pod: what kubelet gave it, and what it last said."""

    name: str
    bundle: str
    trusts: frozenset[str]
    issuer: str
    leaf_ends: datetime
    running: bool
    heard: Witness | None = None
    excused: bool = False
    """Left behind by clock or force, until kubelet brings it what is right."""

    def witness(self) -> Witness:
        return self.heard or Witness(self.name, running=self.running)


class Rotations(RuleBasedStateMachine):
    """A trust domain with a few sidecars, people who ask, a clock, and a controller that is away at times."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGUN
        self.made = 0
        self.asked = 0
        self.away = False
        self.spec = RotationSpec()
        self.known = AuthoritySet("cluster.local", ())
        self.known = self.known.having(self.new(AuthorityState.ACTIVE, ""))
        self.fleet: dict[str, Sidecar] = {}
        for name in FLEET:
            self.create(name)
            self.fleet[name].running = True
        self.a_rotation_is_asked_for()

    def new(self, state: AuthorityState, trigger: str) -> Authority:
        self.made += 1
        made = new_root("cluster.local", self.now, ROOT)
        name = f"{NAME_PREFIX}{self.made}"
        return Authority(
            name, "cluster.local", state, made.certificate, made.key, since=self.entered(), trigger=trigger
        )

    def entered(self) -> datetime:
        return max((self.now, *(each.entered + SECOND for each in self.known.authorities)))

    def plan(self) -> Plan:
        witnesses = [each.witness() for each in self.fleet.values()]
        return plan(self.now, self.known, Situation(self.spec, LEAF, witnesses))

    # --- what the controller does

    def take(self, step: Step | None) -> None:
        match step:
            case Prepare():
                self.known = self.known.having(self.new(AuthorityState.PREPARED, step.trigger))
            case Move():
                check_transition(step.authority.state, step.state)
                for each in step.left:
                    self.fleet[each.pod].excused = True
                moved = replace(step.authority, state=step.state, since=self.entered(), trigger=step.trigger)
                self.known = self.known.having(replace(moved, forced=step.authority.forced or step.forced))
            case Note():
                self.known = self.known.having(step.authority)
            case Remove():
                self.known = self.known.without(step.authority)
            case None:
                pass

    def acts(self) -> None:
        """Whatever is to be done, while it is there."""
        for _ in range(0 if self.away else 12):
            step = self.plan().step
            if step is None:
                return
            self.take(step)
            self.check()
        assert self.away, f"it does not come to rest: {self.plan()}"

    @rule()
    def the_controller_is_away_or_back(self) -> None:
        self.away = not self.away
        self.acts()

    @rule()
    def it_dies_after_one_step(self) -> None:
        self.away = True
        self.take(self.plan().step)

    # --- what happens to the pods

    def create(self, name: str) -> None:
        self.fleet[name] = Sidecar(name, "", frozenset(), "", self.now, running=False)
        self.bring(name)

    def bring(self, name: str) -> None:
        """What its Secret holds: the bundle of now, and a leaf of the one that signs now."""
        sidecar, signer = self.fleet[name], self.known.active
        sidecar.bundle = self.known.fingerprint
        sidecar.trusts = frozenset(each.key_id for each in self.known.authorities if each.state in IN_BUNDLE)
        sidecar.issuer, sidecar.leaf_ends = signer.key_id, min(self.now + LEAF, signer.ends)
        sidecar.excused = False

    def report(self, name: str) -> None:
        sidecar = self.fleet[name]
        if sidecar.running:
            sidecar.heard = Witness(name, self.now, sidecar.bundle, (sidecar.issuer,))

    @rule(name=st.sampled_from(FLEET))
    def a_pod_is_created_or_deleted(self, name: str) -> None:
        if self.fleet.pop(name, None) is None:
            self.create(name)
        self.acts()

    @rule(name=st.sampled_from(FLEET))
    def a_pod_starts(self, name: str) -> None:
        if name in self.fleet:
            self.fleet[name].running = True
        self.acts()

    @rule(names=st.sampled_from([{"a"}, {"b"}, {"c"}, {"a", "b"}, set(FLEET)]))
    def kubelet_brings(self, names: set[str]) -> None:
        for name in names & self.fleet.keys():
            self.bring(name)

    @rule(silent=st.sampled_from(["nobody", "nobody", *FLEET]), seconds=st.sampled_from([10, 1, 61]))
    def time_passes_and_they_report(self, silent: str, seconds: int) -> None:
        """Not so much of it that kubelet would not have brought what a starting pod lacks."""
        self.now += timedelta(seconds=seconds)
        for name, each in self.fleet.items():
            if not each.running and seconds > 60:
                self.bring(name)
        for name in self.fleet.keys() - {silent}:
            self.report(name)
        self.acts()

    @rule(hours=st.sampled_from([2, 6, 48]), reached=st.booleans())
    def much_time_passes(self, hours: int, reached: bool) -> None:
        """And leaves are renewed, or nothing reaches the pods."""
        for _ in range(hours // 2):
            self.now += timedelta(hours=2)
            for name, each in self.fleet.items():
                if reached or not each.running:
                    self.bring(name)
                    self.report(name)
            self.acts()

    # --- what people ask for

    @rule()
    def a_rotation_is_asked_for(self) -> None:
        self.asked += 1
        self.spec = replace(self.spec, trigger=f"word-{self.asked}")
        self.acts()

    @rule(
        paused=st.sampled_from([False, False, False, True]),
        force=st.sampled_from([0, 0, 0, 1, 2, 3]),
        back=st.sampled_from([0, 0, 0, 1, 2, 3]),
    )
    def somebody_steers(self, paused: bool, force: int, back: int) -> None:
        newest = self.made + 1
        self.spec = replace(
            self.spec,
            paused=paused,
            force=f"{NAME_PREFIX}{newest - force}" if force else "",
            back=f"{NAME_PREFIX}{newest - back}" if back else "",
        )
        self.acts()

    # --- what holds whatever happens

    def check(self) -> None:
        """After each step, too: a controller may die there."""
        self.there_is_one_rotation_at_a_time()
        self.whoever_is_live_and_was_not_left_behind_accepts_and_is_accepted()
        self.nobody_is_retired_who_is_needed()
        self.somebody_signs()

    @invariant()
    def there_is_one_rotation_at_a_time(self) -> None:
        under_way = [each.name for each in self.known.authorities if each.state in UNDER_WAY]
        assert len(under_way) <= 1, under_way

    @invariant()
    def whoever_is_live_and_was_not_left_behind_accepts_and_is_accepted(self) -> None:
        live = [each for each in self.fleet.values() if each.running and not each.excused and self.now < each.leaf_ends]
        for one in live:
            for other in live:
                assert one.issuer in other.trusts, f"{other.name} does not trust the leaf of {one.name}"

    @invariant()
    def nobody_is_retired_who_is_needed(self) -> None:
        trusted = {each.key_id for each in self.known.authorities if each.state in IN_BUNDLE}
        for each in self.fleet.values():
            if each.running and not each.excused and self.now < each.leaf_ends:
                assert each.issuer in trusted

    @invariant()
    def somebody_signs(self) -> None:
        assert self.known.active.state is AuthorityState.ACTIVE

    def teardown(self) -> None:
        """It comes to rest when all report and nobody steers."""
        self.spec, self.away = RotationSpec(trigger=self.spec.trigger), False
        for _ in range(20):
            self.now += 10 * SECOND
            for name in self.fleet:
                self.fleet[name].running = True
                self.bring(name)
                self.report(name)
            self.acts()
        assert (self.plan().phase, self.plan().step) == (Phase.IDLE, None)


TestRotations = Rotations.TestCase
TestRotations.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
