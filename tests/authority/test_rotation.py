"""The plan of a root rotation: what is done next, whom it waits for, and what people may ask of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.gates import SILENT, STARTING, StragglerReason, Witness
from handfast_operator.authority.rotation import MADE_KNOWN, plan
from handfast_operator.authority.state import AuthorityState
from handfast_operator.authority.steps import Move, Note, Phase, Plan, Prepare, Remove, Situation, Why
from handfast_operator.authority.storage import new_root
from handfast_operator.resources.trust_domain import RotationSpec

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIFE, LEAF = timedelta(days=90), timedelta(hours=24)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ACTIVE, DRAINING, RETIRED = AuthorityState.ACTIVE, AuthorityState.DRAINING, AuthorityState.RETIRED
PREPARED, DISTRIBUTED = AuthorityState.PREPARED, AuthorityState.DISTRIBUTED


def authority(number: int, state: AuthorityState, *, made: datetime = NOW - DAY, **fields: object) -> Authority:
    root = new_root("cluster.local", made, LIFE)
    known = Authority(f"handfast-authority-{number}", "cluster.local", state, root.certificate, root.key, since=NOW)
    return replace(known, **fields)  # type: ignore[arg-type]


OLD, NEW = authority(1, ACTIVE, since=NOW - DAY), authority(2, DISTRIBUTED)
DRAINED, SIGNING = replace(OLD, state=DRAINING, since=NOW), replace(NEW, state=ACTIVE)


def known(*authorities: Authority) -> AuthoritySet:
    return AuthoritySet("cluster.local", authorities)


def planned(
    *authorities: Authority, at: datetime = NOW + MINUTE, witnesses: tuple[Witness, ...] = (), **spec: object
) -> Plan:
    source = spec.pop("source", "")
    situation = Situation(RotationSpec(**spec), LEAF, witnesses, source)  # type: ignore[arg-type]
    return plan(at, known(*authorities), situation)


def moved(found: Plan) -> tuple[str, AuthorityState, Why]:
    assert isinstance(found.step, Move), found
    return (found.step.authority.name[-1], found.step.state, found.step.why)


def witness(
    *needs: Authority, at: datetime = NOW + MINUTE, bundle: AuthoritySet | None = None, **more: bool
) -> Witness:
    trusted = (bundle or known(*needs)).fingerprint
    return Witness("shop/cart", at, trusted, tuple(each.key_id for each in needs), **more)


def late(found: Plan) -> list[tuple[str, str]]:
    assert found.step is None, found.step
    return [(each.pod, each.reason.value) for each in found.stragglers]


def test_nothing_is_done_while_nothing_is_asked_for() -> None:
    found = planned(OLD)
    assert (found.step, found.phase) == (None, Phase.IDLE)
    assert "begins by itself at 2026-04-29" in found.message


def test_a_word_that_was_not_answered_asks_for_one_rotation() -> None:
    assert planned(OLD, trigger="2026-11").step == Prepare(Why.REQUEST, "2026-11")
    assert planned(replace(OLD, trigger="2026-11"), trigger="2026-11").step is None


def test_a_new_root_is_made_known_at_once() -> None:
    found = planned(OLD, authority(2, PREPARED))
    assert (moved(found), found.phase) == (("2", DISTRIBUTED, Why.NEXT), Phase.DISTRIBUTING)


def test_a_new_root_signs_when_everybody_trusts_it() -> None:
    assert moved(planned(OLD, NEW, witnesses=(witness(OLD, bundle=known(OLD, NEW)),))) == ("2", ACTIVE, Why.EVIDENCE)


def test_who_does_not_trust_it_is_waited_for_by_name() -> None:
    found = planned(OLD, NEW, witnesses=(witness(OLD), replace(witness(OLD, bundle=known(OLD, NEW)), pod="shop/ok")))
    assert late(found) == [("shop/cart", "old_bundle")]
    assert "name handfast-authority-2 in spec.rotation.force" in found.message


def test_of_two_that_may_sign_the_older_one_drains() -> None:
    assert moved(planned(OLD, SIGNING)) == ("1", DRAINING, Why.NEXT)


def test_an_old_root_is_retired_when_nobody_needs_it() -> None:
    found = planned(DRAINED, SIGNING, witnesses=(witness(SIGNING),))
    assert moved(found) == ("1", RETIRED, Why.EVIDENCE)


def test_a_leaf_or_a_tunnel_of_the_old_root_is_waited_for() -> None:
    found = planned(
        DRAINED, SIGNING, witnesses=(witness(DRAINED), replace(witness(SIGNING, DRAINED), pod="shop/orders"))
    )
    assert late(found) == [("shop/cart", "old_leaf"), ("shop/orders", "old_tunnel")]
    assert found.phase is Phase.DRAINING


def test_a_sidecar_that_does_not_tell_whose_leaves_it_needs_is_waited_for() -> None:
    assert late(planned(DRAINED, SIGNING, witnesses=(witness(),))) == [("shop/cart", "no_issuers")]


def test_silence_is_no_evidence() -> None:
    never, long_ago = witness(SIGNING), witness(SIGNING)
    never = replace(never, at=None)
    found = planned(DRAINED, SIGNING, at=NOW + MINUTE + SILENT + MINUTE, witnesses=(never, long_ago))
    assert late(found) == [("shop/cart", "unreported")] * 2
    before = witness(SIGNING, at=NOW - MINUTE / 60)
    assert late(planned(DRAINED, SIGNING, at=NOW + MINUTE / 60, witnesses=(before,))) == [("shop/cart", "unreported")]


def test_a_retired_one_is_removed() -> None:
    assert planned(replace(OLD, state=RETIRED), SIGNING).step == Remove(replace(OLD, state=RETIRED))


# --- what people may ask for


def test_while_it_is_paused_nothing_leaves_its_state() -> None:
    trusting = witness(OLD, bundle=known(OLD, NEW))
    for found in (
        planned(OLD, paused=True, trigger="2026-11"),
        planned(OLD, authority(2, PREPARED), paused=True),
        planned(OLD, NEW, paused=True, witnesses=(trusting,)),
        planned(DRAINED, SIGNING, paused=True, back=OLD.name),
        planned(DRAINED, SIGNING, paused=True, force=OLD.name, witnesses=(witness(DRAINED),)),
    ):
        assert (found.step, found.phase) == (None, Phase.PAUSED)


def test_what_was_begun_is_finished_even_when_it_is_paused() -> None:
    assert moved(planned(OLD, SIGNING, paused=True)) == ("1", DRAINING, Why.NEXT)
    assert isinstance(planned(replace(OLD, state=RETIRED), SIGNING, paused=True).step, Remove)


def test_the_clock_beats_a_pause() -> None:
    nearly = OLD.ends - 2 * LEAF
    found = planned(OLD, paused=True, at=nearly)
    assert found.step == Prepare(Why.AGE, "")
    assert "spec.rotation.paused holds no longer" in found.message


def test_force_moves_one_authority_once() -> None:
    behind = (witness(OLD),)
    found = planned(OLD, NEW, force=NEW.name, witnesses=behind)
    assert moved(found) == ("2", ACTIVE, Why.FORCE)
    assert isinstance(found.step, Move)
    assert [each.pod for each in found.step.left] == ["shop/cart"]
    assert planned(OLD, NEW, force=OLD.name, witnesses=behind).step is None
    again = planned(OLD, replace(NEW, forced=True), force=NEW.name, witnesses=behind)
    assert again.step is None
    assert "was obeyed for handfast-authority-2 once" in again.message
    assert planned(OLD, replace(NEW, forced=True), witnesses=behind).step == Note(NEW)


def test_back_lets_the_old_root_sign_again_which_everybody_trusts() -> None:
    found = planned(DRAINED, replace(SIGNING, trigger="2026-11"), back=OLD.name, trigger="2026-11")
    assert moved(found) == ("1", ACTIVE, Why.BACK)
    assert isinstance(found.step, Move)
    assert found.step.trigger == "2026-11"
    again = replace(OLD, since=NOW + MINUTE, trigger="2026-11")
    assert moved(planned(again, SIGNING, back=OLD.name)) == ("2", DRAINING, Why.NEXT)


def test_back_gives_up_a_root_that_did_not_sign_yet_and_what_it_answers_stays_answered() -> None:
    newcomer = replace(NEW, trigger="2026-11")
    assert planned(OLD, newcomer, back=OLD.name).step == Note(replace(OLD, trigger="2026-11"))
    noted = replace(OLD, trigger="2026-11")
    assert moved(planned(noted, newcomer, back=OLD.name)) == ("2", RETIRED, Why.BACK)


def test_nothing_begins_while_back_names_who_signs() -> None:
    found = planned(OLD, back=OLD.name, trigger="2026-12")
    assert found.step is None
    assert "leave it out" in found.message
    assert planned(OLD, back=OLD.name, at=OLD.ends - DAY).step == Prepare(Why.AGE, "")


def test_there_is_no_way_back_to_a_root_that_ends() -> None:
    ending = authority(1, DRAINING, made=NOW - LIFE + DAY)
    assert planned(ending, SIGNING, back=OLD.name, witnesses=(witness(ending),)).step is None


def test_a_way_back_that_is_none_is_said() -> None:
    found = planned(SIGNING, back=OLD.name)
    assert found.step is None
    assert "handfast-authority-1 cannot sign again" in found.message


def test_a_second_word_is_answered_after_the_first() -> None:
    newcomer = replace(SIGNING, trigger="2026-11")
    assert moved(planned(DRAINED, newcomer, trigger="2026-12")) == ("1", RETIRED, Why.EVIDENCE)
    assert planned(newcomer, trigger="2026-12").step == Prepare(Why.REQUEST, "2026-12")


# --- time


def test_it_begins_by_itself_with_a_third_of_the_roots_life_left() -> None:
    assert planned(OLD, at=OLD.ends - LIFE / 3 - DAY).step is None
    assert planned(OLD, at=OLD.ends - LIFE / 3, trigger="known").step == Prepare(Why.REQUEST, "known")
    assert planned(OLD, at=OLD.ends - LIFE / 3).step == Prepare(Why.AGE, "")


def test_with_two_lives_of_a_leaf_left_a_new_root_signs_whoever_lacks_it() -> None:
    at = OLD.ends - 2 * LEAF
    behind = (witness(OLD, at=at),)
    made_known = replace(NEW, since=at - MADE_KNOWN)
    found = planned(OLD, made_known, at=at, witnesses=behind)
    assert moved(found) == ("2", ACTIVE, Why.CLOCK)
    assert isinstance(found.step, Move)
    assert [each.reason for each in found.step.left] == [StragglerReason.OLD_BUNDLE]
    assert planned(OLD, replace(NEW, since=at - MINUTE), at=at, witnesses=behind).step is None
    assert planned(OLD, replace(made_known, since=at - DAY), at=at - MINUTE, witnesses=behind).step is None


def test_a_root_that_has_ended_is_retired_whoever_needs_it() -> None:
    assert moved(planned(DRAINED, SIGNING, at=OLD.ends - MINUTE, witnesses=(witness(SIGNING, at=OLD.ends - MINUTE),)))
    behind = (witness(DRAINED, at=OLD.ends),)
    lasting = authority(2, ACTIVE, made=NOW + DAY)
    assert moved(planned(DRAINED, lasting, at=OLD.ends, witnesses=behind)) == ("1", RETIRED, Why.CLOCK)


def test_who_is_silent_for_longer_than_a_leaf_lives_is_waited_for_no_more() -> None:
    gone = witness(DRAINED, at=NOW)
    assert late(planned(DRAINED, SIGNING, at=NOW + LEAF - MINUTE, witnesses=(gone,))) == [("shop/cart", "unreported")]
    assert moved(planned(DRAINED, SIGNING, at=NOW + LEAF, witnesses=(gone,))) == ("1", RETIRED, Why.EVIDENCE)


def test_an_old_root_does_not_keep_the_next_rotation_from_beginning() -> None:
    old = authority(1, DRAINING, made=NOW, since=NOW)
    signing = authority(2, ACTIVE, made=NOW - LIFE / 2, since=NOW)
    at = signing.ends - 10 * DAY
    assert moved(planned(old, signing, at=at, witnesses=(witness(old, at=at),))) == ("1", RETIRED, Why.CLOCK)


# --- who is waited for


def test_a_pod_that_starts_is_waited_for_as_long_as_it_may_have_been_given_old_files() -> None:
    starting = Witness("shop/cart", running=False)
    assert late(planned(OLD, NEW, witnesses=(starting,))) == [("shop/cart", "unreported")]
    assert moved(planned(OLD, NEW, at=NOW + STARTING, witnesses=(starting,))) == ("2", ACTIVE, Why.EVIDENCE)


def test_a_pod_that_ends_is_waited_for_while_it_speaks() -> None:
    ending = witness(OLD, deleting=True)
    waiting = planned(OLD, NEW, witnesses=(ending,))
    assert late(waiting) == [("shop/cart", "old_bundle")]
    assert "waited for until it has ended" in waiting.stragglers[0].message
    found = planned(OLD, NEW, at=NOW + MINUTE + SILENT + MINUTE, witnesses=(ending,))
    assert moved(found) == ("2", ACTIVE, Why.EVIDENCE)


# --- external issuers, lost keys


def test_another_external_certificate_goes_through_the_same_states() -> None:
    assert planned(OLD, source="abc").step == Prepare(Why.ISSUER, "")
    assert planned(replace(OLD, source="abc"), source="abc", at=OLD.ends - DAY, trigger="x").step is None
    assert planned(replace(OLD, source="abc"), source="").step == Prepare(Why.ISSUER, "")
    assert planned(OLD, source=None, trigger="x").step is None


def test_when_a_newcomers_key_is_lost_another_one_is_made() -> None:
    lost = AuthoritySet("cluster.local", (OLD,), (NEW.certificate,))
    found = plan(NOW + MINUTE, lost, Situation(RotationSpec(trigger="2026-11"), LEAF))
    assert found.step == Prepare(Why.REQUEST, "2026-11")


def test_nobody_signs_is_said() -> None:
    assert "no authority of cluster.local is Active" in planned(NEW).message
