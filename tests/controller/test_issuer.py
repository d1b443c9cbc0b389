"""The issuer against an API server in memory, with a clock that is turned by hand."""

import asyncio
import base64
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.state import AuthorityState
from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.services import Service
from handfast_sidecar.policy.effective import Mode
from support.issuing import DAY, HOUR, ORDERS, PATH, SECRETS, World, authority
from support.objects import pod
from support.virtual_time import START

Damage = dict[str, bytes | None]
BUNDLE_GONE: Damage = {"ca.crt": None}
DAMAGED_LEAVES: list[Damage] = [{"tls.key": b"garbage"}, {"tls.crt": None}, {"tls.crt": b""}]
ISSUER = "handfast.dev/issuer"


async def test_a_secret_is_written_as_soon_as_the_pod_exists() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
    raw, leaf = world.api.objects[PATH], world.material().leaf
    assert world.api.calls == [("create", SECRETS)]
    assert (str(leaf.spiffe_id), leaf.pod_uid) == ("spiffe://cluster.local/ns/shop/sa/orders", "uid-1")
    assert raw["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Pod", "name": "orders", "uid": "uid-1"}]
    assert raw["metadata"]["labels"] == {"handfast.dev/identity": "true"}
    assert raw["metadata"]["annotations"]["handfast.dev/serial"] == leaf.serial
    assert world.metric('handfast_leaves_issued_total{reason="new"}') == "1"
    assert world.metric("handfast_leaf_issue_seconds_count") == "1"


async def test_pods_without_a_sidecar_and_finished_ones_get_none() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(pod("shop", "plain", meshed=False))
        world.pods.put(pod("shop", "done", phase="Succeeded"))
        world.pods.put(pod("shop", "leaving", deleting=True))
        await world.settle(DAY)
    assert world.api.calls == []


async def test_a_deleted_secret_is_issued_again_at_once() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        first = world.material().leaf.serial
        world.api.remove(PATH)
        await world.settle()
    assert world.material().leaf.serial != first


async def test_a_pod_that_is_gone_is_left_alone() -> None:
    world = World()
    async with world.issuer() as issuer:
        world.pods.put(ORDERS)
        await world.settle()
        world.pods.remove(ORDERS.key, 500)
        world.api.remove(PATH)
        await world.settle(2 * DAY)
        assert issuer.queue.idle
    assert world.api.calls == [("create", SECRETS)]


async def test_a_damaged_leaf_is_replaced() -> None:
    for damage in DAMAGED_LEAVES:
        world = World()
        async with world.issuer():
            world.pods.put(ORDERS)
            await world.settle()
            first = world.material().leaf.serial
            world.damage(damage)
            await world.settle()
        assert world.material().leaf.serial != first
        assert world.metric('handfast_leaves_issued_total{reason="damaged"}') == "1"


async def test_a_damaged_bundle_or_configuration_is_put_right_around_the_same_leaf() -> None:
    foreign = authority(9).certificate
    bundle = AuthoritySet("cluster.local", (), (foreign,)).bundle_pem
    damages: list[Damage] = [{"ca.crt": bundle}, {"ca.crt": None}, {"config.json": b"{}"}, {"config.json": None}]
    for damage in damages:
        world = World()
        async with world.issuer():
            world.pods.put(ORDERS)
            await world.settle()
            first, data = world.material(), world.api.objects[PATH]["data"]
            world.damage(damage)
            await world.settle()
        assert world.api.objects[PATH]["data"] == data
        assert world.material().leaf == first.leaf


async def test_a_revision_from_the_future_is_put_right() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        config = world.material().config
        world.damage({"config.json": replace(config, revision=10**12).dump().encode()})
        await world.settle()
    assert world.material().config == config


async def test_the_leaf_of_another_pod_is_damage() -> None:
    world = World()
    other = pod("shop", "web", uid="uid-2", service_account="web")
    async with world.issuer():
        world.pods.put(ORDERS)
        world.pods.put(other)
        await world.settle()
        stolen = world.api.objects[f"{SECRETS}/{other.secret}"]["data"]
        world.damage({name: base64.b64decode(stolen[name]) for name in ("tls.crt", "tls.key")})
        await world.settle()
    assert world.material().leaf.pod_uid == "uid-1"


async def test_a_harmless_change_by_somebody_else_costs_one_read() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        raw = world.api.objects[PATH]
        world.api.put(
            PATH,
            {**raw, "metadata": {**raw["metadata"], "annotations": {**raw["metadata"]["annotations"], "team": "shop"}}},
        )
        await world.settle(HOUR)
    assert world.api.calls == [("create", SECRETS), ("get", PATH)]


async def test_an_edited_annotation_is_put_right() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        raw = world.api.objects[PATH]
        before = dict(raw["metadata"]["annotations"])
        edited = {**before, "handfast.dev/renew-at": "2099-01-01T00:00:00Z"}
        world.api.put(PATH, {**raw, "metadata": {**raw["metadata"], "annotations": edited}})
        await world.settle()
    assert world.api.objects[PATH]["metadata"]["annotations"] == before


async def test_a_secret_of_somebody_else_is_refused_with_an_event_and_issued_once_it_is_gone() -> None:
    world = World()
    world.api.put(PATH, {"metadata": {"namespace": "shop", "name": ORDERS.secret}, "data": {"password": "eA=="}})
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle(HOUR)
        assert world.api.objects[PATH]["data"] == {"password": "eA=="}
        assert {(name, reason) for name, reason, _ in world.events} == {("orders", "IdentityRefused")}
        world.api.remove(PATH)
        await world.settle(timedelta(seconds=10))
    assert world.material().leaf.pod_uid == "uid-1"


async def test_the_secret_of_a_pod_that_had_this_name_before_is_never_overwritten() -> None:
    world = World()
    successor = replace(ORDERS, uid="uid-2")
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        world.pods.put(successor)
        await world.settle()
        assert world.material().leaf.pod_uid == "uid-1"
        world.api.remove(PATH)
        await world.settle()
    assert world.material().leaf.pod_uid == "uid-2"


async def test_a_restart_mints_nothing_twice_and_reads_nothing() -> None:
    world = World()
    for _ in range(3):
        async with world.issuer():
            world.pods.put(ORDERS)
            await world.settle(HOUR)
    assert world.api.calls == [("create", SECRETS)]


async def test_damage_done_while_the_controller_was_away_is_found_at_its_start() -> None:
    for damage in [*DAMAGED_LEAVES, BUNDLE_GONE]:
        world = World()
        async with world.issuer():
            world.pods.put(ORDERS)
            await world.settle()
        world.damage(damage)
        async with world.issuer():
            await world.settle()
        assert world.material().leaf.pod_uid == "uid-1"


async def test_a_leaf_is_renewed_when_it_is_due_with_a_new_key() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle(8 * HOUR - timedelta(minutes=1))
        first = world.material()
        assert world.api.calls == [("create", SECRETS)]
        await world.settle(2 * HOUR + timedelta(minutes=2))
    second = world.material()
    assert world.api.calls == [("create", SECRETS), ("replace", PATH)]
    assert second.leaf.serial != first.leaf.serial
    assert second.chain[0].public_key() != first.chain[0].public_key()


async def test_a_policy_rewrites_the_configuration_and_keeps_the_leaf() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        first = world.material()
        world.apply(Mode.STRICT, 700)
        await world.settle()
    second = world.material()
    assert (second.config.policy.default.mode, second.config.revision) == (Mode.STRICT, 700)
    assert (second.leaf, first.config.policy.default.mode) == (first.leaf, Mode.PERMISSIVE)


async def test_a_policy_that_does_not_concern_a_pod_rewrites_nothing() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        world.apply(Mode.PERMISSIVE, 700)
        world.policies.remove(("shop", "p"), 701)
        await world.settle()
        writes = len(world.api.calls)
        world.policies.seen(800)
        await world.settle(HOUR)
    assert len(world.api.calls) == writes


async def test_a_shorter_ttl_takes_effect_at_once() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        world.apply(Mode.PERMISSIVE, 700, ttl=timedelta(minutes=5))
        await world.settle()
        assert world.material().leaf.not_after == world.time.now() + timedelta(minutes=5)
        await world.settle(HOUR)
    assert world.material().leaf.not_after > world.time.now()


async def test_a_new_bundle_reaches_every_secret_around_the_same_leaf() -> None:
    world = World()
    async with world.issuer() as issuer:
        world.pods.put(ORDERS)
        await world.settle()
        first = world.material()
        both = AuthoritySet("cluster.local", (*world.authorities.authorities, authority(2, AuthorityState.DISTRIBUTED)))
        issuer.authorities_changed(both)
        await world.settle()
    assert world.material().fingerprint == both.fingerprint != first.fingerprint
    assert world.material().leaf == first.leaf


async def test_a_leaf_whose_issuer_is_retired_is_replaced() -> None:
    world = World()
    async with world.issuer() as issuer:
        world.pods.put(ORDERS)
        await world.settle()
        issuer.authorities_changed(AuthoritySet("cluster.local", (authority(2),)))
        await world.settle()
    assert world.metric('handfast_leaves_issued_total{reason="issuer_not_trusted"}') == "1"
    assert world.material().leaf.pod_uid == "uid-1"


def rotated(first: Authority, second: Authority, since: datetime) -> AuthoritySet:
    """The second one signs since then, the first one drains."""
    drains = replace(first, state=AuthorityState.DRAINING, since=since)
    return AuthoritySet("cluster.local", (drains, replace(second, state=AuthorityState.ACTIVE, since=since)))


async def test_leaves_of_a_draining_authority_are_replaced_once_and_spread() -> None:
    world = World()
    pods = [pod("shop", f"p{number}", uid=f"uid-{number}") for number in range(400)]
    async with world.issuer() as issuer:
        for each in pods:
            world.pods.put(each)
        await world.settle(HOUR)
        first, second = world.authorities.authorities[0], authority(2, AuthorityState.DISTRIBUTED)
        issuer.authorities_changed(AuthoritySet("cluster.local", (first, second)))
        await world.settle(HOUR)
        issuer.authorities_changed(rotated(first, second, world.time.now()))
        seconds: list[int] = []
        for _ in range(5):
            before = world.metric('handfast_leaves_issued_total{reason="draining"}') if seconds else "0"
            await world.settle(timedelta(seconds=1))
            seconds.append(int(world.metric('handfast_leaves_issued_total{reason="draining"}')) - int(before))
        assert sum(seconds) == 400
        assert max(seconds) < 150
        await world.settle(HOUR)
    assert world.metric('handfast_leaves_issued_total{reason="draining"}') == "400"
    issuers = {world.api.objects[f"{SECRETS}/{each.secret}"]["metadata"]["annotations"][ISSUER] for each in pods}
    assert issuers == {second.serial}


async def test_a_restart_in_the_middle_of_draining_goes_on_where_it_was() -> None:
    world = World()
    pods = [pod("shop", f"p{number}", uid=f"uid-{number}") for number in range(400)]
    async with world.issuer():
        for each in pods:
            world.pods.put(each)
        await world.settle(HOUR)
    world.authorities = rotated(world.authorities.authorities[0], authority(2), world.time.now())
    async with world.issuer():
        await world.settle(timedelta(seconds=2))
        before = int(world.metric('handfast_leaves_issued_total{reason="draining"}'))
        assert 120 < before < 280
    async with world.issuer():
        await world.settle()
        assert world.metric('handfast_leaves_issued_total{reason="draining"}') == "0"
        await world.settle(timedelta(seconds=5))
        assert int(world.metric('handfast_leaves_issued_total{reason="draining"}')) == 400 - before


async def test_a_new_pods_leaf_is_never_of_an_authority_that_drains() -> None:
    world = World()
    # The one that drains is the younger: a rotation was taken back.
    old, young = authority(1), authority(2, made=START + timedelta(minutes=1))
    world.authorities = rotated(young, old, START)
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
    assert world.api.objects[PATH]["metadata"]["annotations"][ISSUER] == old.serial


async def test_nobody_is_renewed_while_authorities_drain_and_none_signs() -> None:
    world = World()
    async with world.issuer() as issuer:
        world.pods.put(ORDERS)
        await world.settle()
        first = world.material().leaf
        drains = replace(world.authorities.authorities[0], state=AuthorityState.DRAINING)
        issuer.authorities_changed(AuthoritySet("cluster.local", (drains,)))
        await world.settle(HOUR)
    assert world.material().leaf == first
    assert world.events == []


async def test_the_directorys_new_address_reaches_every_secret() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        assert world.material().config.directory.host == "handfast-directory.handfast-system.svc"
        world.services.put(Service("handfast-system", "handfast-directory", 5, ("10.96.0.9",), ()))
        await world.settle()
    assert world.material().config.directory.host == "10.96.0.9"


async def test_a_watch_that_is_behind_makes_nobody_mint_twice() -> None:
    world = World()
    async with world.issuer():
        world.held_back = []
        world.pods.put(ORDERS)
        await world.settle()
        world.apply(Mode.STRICT, 700)
        await world.settle(timedelta(minutes=30))
        assert world.api.count("create") == 1
        world.release()
        await world.settle(HOUR)
    assert [verb for verb, _ in world.api.calls] == ["create", "get", "replace"]


async def test_a_secret_that_went_unseen_is_found_missing() -> None:
    world = World()
    async with world.issuer():
        world.held_back = []
        world.pods.put(ORDERS)
        await world.settle()
        world.api.remove(PATH)
        world.held_back = None
        world.secrets.replace([], 1000)
        await world.settle(timedelta(minutes=10))
    assert world.material().leaf.pod_uid == "uid-1"


async def test_a_failed_write_is_tried_again_and_the_owner_is_told() -> None:
    world = World()
    world.api.failures += [ApiError(403, "Forbidden", "exceeded quota"), ApiError(503, "", "away"), TimeoutError()]
    world.api.failures.append(aiohttp.ClientConnectionError("reset"))
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle(timedelta(seconds=5))
    assert world.material().leaf.pod_uid == "uid-1"
    assert [(reason, "exceeded quota" in text) for _, reason, text in world.events] == [("IdentityNotIssued", True)]
    assert world.metric('handfast_leaf_issue_failures_total{reason="Forbidden"}') == "1"


async def test_a_server_that_has_too_much_to_do_is_left_alone_by_all_workers() -> None:
    world = World()
    world.api.failures.append(ApiError(429, "TooManyRequests", "please try again later", retry_after_s=5))
    async with world.issuer(in_flight=1):
        for number in range(20):
            world.pods.put(pod("shop", f"orders-{number}"))
        await world.settle(timedelta(seconds=4.9))
        assert world.api.count("create") == 1
        await world.settle(timedelta(seconds=1))
    assert world.api.count("create") == 21


async def test_a_failed_renewal_keeps_the_leaf_and_is_tried_again() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle(HOUR)
        first = world.material().leaf.serial
        world.api.failures += [ApiError(500, "InternalError", "etcd") for _ in range(8)]
        await world.settle(16 * HOUR)
    assert world.api.count("replace") == 9
    assert world.material().leaf.serial != first


async def test_a_create_whose_answer_got_lost_is_not_repeated() -> None:
    world = World()
    world.api.lost_answers = 1
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle(HOUR)
    assert world.api.calls == [("create", SECRETS)]
    assert world.material().leaf.pod_uid == "uid-1"


async def test_why_a_leaf_is_not_renewed_is_known_until_it_is() -> None:
    world = World()
    world.api.failures += [ApiError(403, "Forbidden", "exceeded quota")] * 3
    async with world.issuer() as issuer:
        world.pods.put(ORDERS)
        await world.settle()
        assert issuer.failure(ORDERS) == "Forbidden: exceeded quota"
        await world.settle(timedelta(seconds=5))
        assert issuer.failure(ORDERS) == ""


async def test_two_controllers_at_once_end_with_one_leaf() -> None:
    world = World()
    async with world.issuer(), world.issuer():
        world.pods.put(ORDERS)
        await world.settle(HOUR)
        leaf = world.material().leaf
        await world.settle(HOUR)
    assert world.material().leaf == leaf
    assert world.api.count("replace") == 0


async def test_who_took_the_label_is_told_to_give_it_back_where_we_may_not() -> None:
    """The chart's admission policy protects whatever does not carry our label from us."""
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        raw = world.api.objects[PATH]
        world.api.failures += [ApiError(409, "AlreadyExists", "is there"), ApiError(422, "Invalid", "denied by policy")]
        world.api.put(PATH, {**raw, "metadata": {**raw["metadata"], "labels": {}}})
        await world.settle(timedelta(seconds=5))
    assert [reason for _, reason, _ in world.events] == ["IdentityNotIssued"]
    assert "kubectl label secret -n shop" in world.events[0][2]


async def test_a_secret_that_lost_its_label_gets_it_back() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        first, raw = world.material(), world.api.objects[PATH]
        world.api.put(PATH, {**raw, "metadata": {**raw["metadata"], "labels": {}}})
        await world.settle()
    assert world.api.objects[PATH]["metadata"]["labels"] == {"handfast.dev/identity": "true"}
    assert world.material().leaf == first.leaf


async def test_a_secret_that_was_made_immutable_is_made_anew() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        raw = world.api.objects[PATH]
        world.api.put(PATH, {**raw, "immutable": True, "data": {**raw["data"], "tls.key": "AAAA"}})
        await world.settle(timedelta(seconds=1))
    assert "immutable" not in world.api.objects[PATH]
    assert world.material().leaf.pod_uid == "uid-1"


async def test_somebody_who_undoes_every_repair_is_named_and_does_not_stop_the_others() -> None:
    world = World()

    def undo(path: str, raw: dict[str, Any] | None, _version: int) -> None:
        if raw is not None and path == PATH and raw["data"]["tls.key"] != "AAAA":
            asyncio.get_running_loop().call_soon(world.damage, {"tls.key": bytes(3)})

    world.api.watchers.insert(0, undo)
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle(timedelta(seconds=59))
        calls = len(world.api.calls)
        world.pods.put(pod("shop", "web", uid="uid-2"))
        await world.settle()
    assert calls < 30
    assert world.material(f"{SECRETS}/web-handfast-0123456789").leaf.pod_uid == "uid-2"
    assert {reason for _, reason, _ in world.events} == {"IdentityUnstable"}


async def test_no_authority_is_told_and_heals_by_itself() -> None:
    world = World()
    good, world.authorities = world.authorities, AuthoritySet("cluster.local", ())
    async with world.issuer() as issuer:
        world.pods.put(ORDERS)
        await world.settle()
        assert world.events[0][1] == "IdentityNotIssued"
        issuer.authorities_changed(good)
        await world.settle()
    assert world.material().leaf.pod_uid == "uid-1"


@pytest.mark.timeout(300)
async def test_ten_thousand_pods_are_all_written_with_bounded_writes_in_flight() -> None:
    world = World()
    async with world.issuer(in_flight=24, rate=100_000, burst=20_000):
        for number in range(10_000):
            world.pods.put(pod("shop", f"p{number}", version=number))
        await world.settle()
    assert world.api.count("create") == len(world.api.calls) == 10_000
    assert world.api.most_in_flight == 24


async def test_a_new_pod_does_not_stand_behind_a_change_of_every_policy() -> None:
    world = World()
    async with world.issuer(in_flight=2, rate=10, burst=200):
        for number in range(200):
            world.pods.put(pod("shop", f"p{number}"))
        await world.settle()
        world.apply(Mode.STRICT, 700)
        await world.settle(timedelta(seconds=1))
        world.pods.put(ORDERS)
        await world.settle(timedelta(seconds=1))
        assert world.material().leaf.pod_uid == "uid-1"
        assert world.metric("handfast_leaf_queue_length") > "1"


async def test_a_revoked_certificate_is_replaced_at_once_with_a_new_key() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        before = world.material()
        world.revoke({"serial": before.leaf.serial, "reason": "its node was broken into"})
        await world.settle()
        after = world.material()
        assert after.leaf.serial != before.leaf.serial
        assert after.chain[0].public_key() != before.chain[0].public_key()
        assert [each.serial for each in after.config.revoked.entries] == [before.leaf.serial]
        [(name, reason, message)] = world.events
        assert (name, reason, before.leaf.serial in message) == ("orders", "CertificateReplaced", True)


async def test_a_revoked_identity_gets_no_leaf_and_keeps_what_it_has() -> None:
    world = World()
    other = pod("shop", "cart", uid="uid-2", service_account="cart")
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        serial = world.material().leaf.serial
        world.revoke({"identity": "spiffe://cluster.local/ns/shop/sa/orders", "reason": "stolen"})
        young = pod("shop", "orders-2", uid="uid-3", service_account="orders")
        world.pods.put(young)
        world.pods.put(other)
        await world.settle()
        assert world.material().leaf.serial == serial
        assert f"{SECRETS}/{young.secret}" not in world.api.objects
        assert len(world.material(f"{SECRETS}/{other.secret}").config.revoked.entries) == 1
        [(name, reason, message)] = world.events
        assert (name, reason) == ("orders-2", "IdentityRefused")
        assert "stolen" in message
        assert "handfast revoke --undo" in message
        await world.settle(DAY)
        assert world.material().leaf.serial == serial, "it is not renewed either"
        world.revoke()
        await world.settle()
        assert world.material().leaf.serial != serial
        assert f"{SECRETS}/{young.secret}" in world.api.objects


async def test_a_damaged_secret_of_a_revoked_identity_gets_no_new_leaf() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        world.revoke({"identity": "spiffe://cluster.local/ns/shop/sa/orders", "reason": "stolen"})
        await world.settle()
        world.damage({"tls.key": b"garbage"})
        await world.settle()
        assert base64.b64decode(world.api.objects[PATH]["data"]["tls.key"]) == b"garbage"
        assert world.events[-1][:2] == ("orders", "IdentityNotIssued")


async def test_a_list_that_is_the_same_rewrites_nothing() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        world.revoke({"serial": "1f", "reason": "x"})
        await world.settle()
        writes = len(world.api.calls)
        world.revoke({"serial": "1f", "reason": "x"})
        await world.settle()
        assert len(world.api.calls) == writes
