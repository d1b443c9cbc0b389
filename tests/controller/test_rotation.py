"""The driver of root rotations, against an API server in memory, with a clock that is turned by hand."""

from dataclasses import replace
from datetime import timedelta

import pytest

from handfast_operator.authority.state import AuthorityState
from handfast_operator.authority.steps import Offer
from handfast_operator.authority.storage import new_root
from support.rotation import NAME, Died, World


async def test_a_rotation_that_is_asked_for_ends_with_the_new_root_alone() -> None:
    world = World()
    async with world.running():
        await world.ask(trigger="2026-11")
        await world.passes(20)
        assert world.states() == {"2": "Active"}
        assert world.rotation.authorities.fingerprint == world.told[-1].fingerprint
        assert world.reasons() == ["RotationStarted", "RotationFinished"]
        assert world.status()["rotation"]["state"] == "Idle"


async def test_a_straggler_holds_it_and_is_named() -> None:
    world = World()
    async with world.running():
        world.stays = bool(world.witnesses())
        await world.ask(trigger="2026-11")
        await world.passes(90)
        assert world.states() == {"1": "Active", "2": "Distributed"}
        rotation = world.status()["rotation"]
        assert (rotation["state"], rotation["authority"], rotation["waiting"]) == ("Distributing", f"{NAME}2", 1)
        assert rotation["stragglers"][0]["pod"] == "shop/cart"
        assert rotation["stragglers"][0]["reason"] == "old_bundle"
        assert world.reasons() == ["RotationStarted", "RotationWaiting"]
        assert "handfast_rotation_stragglers 1" in world.registry.render()
        assert "handfast_rotation_step_timestamp_seconds 0\n" not in world.registry.render()
        world.stays = False
        await world.passes(20)
        assert world.states() == {"2": "Active"}
        assert "handfast_rotation_step_timestamp_seconds 0\n" in world.registry.render()


async def test_it_can_be_paused_forced_and_taken_back() -> None:
    world = World()
    async with world.running():
        world.stays = bool(world.witnesses())
        await world.ask(trigger="2026-11", paused=True)
        await world.passes(5)
        assert (world.states(), world.status()["rotation"]["state"]) == ({"1": "Active"}, "Paused")
        await world.ask(trigger="2026-11", force=f"{NAME}2")
        await world.passes(5)
        assert world.states() == {"1": "Draining", "2": "Active"}
        await world.ask(trigger="2026-11", back=f"{NAME}1")
        world.stays = False
        await world.passes(20)
        assert world.states() == {"1": "Active"}
        assert world.reasons() == ["RotationStarted", "RotationForced", "RotationTakenBack", "RotationFinished"]
        assert 'handfast_rotations_total{outcome="taken_back"} 1' in world.registry.render()
        assert 'handfast_rotations_total{outcome="finished"} 0' in world.registry.render()
        await world.ask(trigger="2026-11")
        await world.passes(20)
        assert world.states() == {"1": "Active"}, "what was taken back is not begun again by the same word"


async def test_two_rotations_that_are_asked_for_at_once_happen_one_after_the_other() -> None:
    world = World()
    async with world.running():
        await world.ask(trigger="one")
        await world.passes(1)
        await world.ask(trigger="two")
        most = 0
        for _ in range(40):
            await world.passes(1)
            most = max(most, len(world.states()))
        assert (world.states(), most) == ({"3": "Active"}, 2)


async def test_an_external_issuer_goes_through_the_same_states() -> None:
    world = World()
    async with world.running():
        await world.passes(2)
        theirs = replace(new_root("cluster.local", world.time.now()), source="abc")
        world.offers(Offer(theirs))
        await world.passes(20)
        assert world.rotation.authorities.active.certificate == theirs.certificate
        listed = world.status()["authorities"]
        assert [(each["name"], each["source"]) for each in listed] == [(f"{NAME}2", "secretRef")]
        world.offers(Offer(None, "the certificate of handfast-issuer is no CA: it cannot sign"))
        await world.passes(5)
        [accepted] = [each for each in world.status()["conditions"] if each["type"] == "IssuerAccepted"]
        assert (accepted["status"], "no CA" in accepted["message"]) == ("False", True)
        assert world.states() == {"2": "Active"}


async def test_a_lost_key_of_the_one_that_signs_is_replaced_at_once_and_told() -> None:
    world = World()
    async with world.running():
        first = world.rotation.authorities.active
        world.api.remove(f"/api/v1/namespaces/handfast-system/secrets/{first.name}")
        await world.passes(70)
        assert world.rotation.authorities.active.name == f"{NAME}2"
        assert first.certificate in world.rotation.authorities.bundle
        assert "AuthorityKeyLost" in world.reasons()


async def test_a_lost_key_of_one_that_drains_is_told_and_its_certificate_stays() -> None:
    world = World()
    async with world.running():
        first = world.rotation.authorities.active
        world.stays = bool(world.witnesses())
        await world.ask(trigger="2026-11", force=f"{NAME}2")
        await world.passes(5)
        assert world.states() == {"1": "Draining", "2": "Active"}
        world.api.remove(f"/api/v1/namespaces/handfast-system/secrets/{first.name}")
        await world.passes(70)
        assert world.states() == {"2": "Active"}
        assert first.certificate in world.rotation.authorities.bundle
        assert "AuthorityKeyLost" in world.reasons()


async def test_when_nobody_signs_one_that_peers_trust_already_does() -> None:
    world = World()
    async with world.running():
        world.stays = bool(world.witnesses())
        await world.ask(trigger="2026-11")
        await world.passes(5)
        world.api.remove(f"/api/v1/namespaces/handfast-system/secrets/{NAME}1")
        await world.passes(70)
        assert world.states() == {"2": "Active"}


@pytest.mark.parametrize("writes", range(1, 9))
async def test_a_controller_that_dies_after_any_write_is_followed_by_one_that_goes_on(writes: int) -> None:
    """Of a rotation: the Secret made and moved five times, the bundle written twice, the old Secret deleted."""
    world = World()
    await world.rotation.begin()
    await world.rests()
    await world.ask(trigger="2026-11")
    world.api.writes_left = writes
    with pytest.raises(Died):
        await world.rests()
    assert world.presents is not None
    needed = world.presents.active.certificate
    world.restart()
    await world.rotation.begin()
    assert needed in world.rotation.authorities.bundle, "whoever holds a leaf of it is trusted"
    await world.rests()
    assert world.states() == {"2": "Active"}
    assert world.rotation.authorities.bundle == (world.rotation.authorities.active.certificate,)
    assert world.api.writes_left is None


async def test_it_dies_after_each_write_of_a_rotation_and_it_ends_all_the_same() -> None:
    world = World()
    await world.rotation.begin()
    await world.rests()
    await world.ask(trigger="2026-11")
    deaths = 0
    for _ in range(20):
        world.api.writes_left = 1
        try:
            await world.rotation.begin()
            await world.rests()
        except Died:
            deaths += 1
            world.restart()
    assert deaths == 8
    assert world.states() == {"2": "Active"}
    assert world.rotation.authorities.active.state is AuthorityState.ACTIVE


async def test_a_root_is_replaced_by_itself_before_it_ends() -> None:
    world = World()
    await world.rotation.begin()
    await world.time.advance(timedelta(days=61))
    await world.rests()
    assert world.states() == {"2": "Active"}
