"""The issuer against an API server in memory, with a clock that is turned by hand."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any

import aiohttp

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.root import make_root
from handfast_operator.authority.state import AuthorityState
from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.objects import Namespace, Pod, SecretMeta, parse_secret_meta
from handfast_operator.cluster.services import Service
from handfast_operator.cluster.store import Store
from handfast_operator.controller.config import ConfigSource
from handfast_operator.controller.issuer import Issuer, Pace
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy, PolicySpec
from handfast_sidecar.identity.material import Material, parse_material
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.policy.effective import Mode
from support.memory_api import MemoryApi
from support.objects import pod
from support.virtual_time import START, VirtualTime

SECRETS = "/api/v1/namespaces/shop/secrets"
ORDERS = pod("shop", "orders", uid="uid-1", service_account="orders")
PATH = f"{SECRETS}/{ORDERS.secret}"
NOTHING = timedelta(0)
Damage = dict[str, bytes | None]
BUNDLE_GONE: Damage = {"ca.crt": None}
DAMAGED_LEAVES: list[Damage] = [{"tls.key": b"garbage"}, {"tls.crt": None}, {"tls.crt": b""}]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def authority(number: int, state: AuthorityState = AuthorityState.ACTIVE, made: datetime = START) -> Authority:
    root = make_root("cluster.local", made)
    return Authority(f"handfast-authority-{number}", "cluster.local", state, root.certificate, root.key)


class World:
    """A cluster whose watches tell everything at once, until they are held back."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.time = VirtualTime()
        self.pods: Store[Pod] = Store()
        self.secrets: Store[SecretMeta] = Store()
        self.namespaces: Store[Namespace] = Store()
        self.policies: Store[MtlsPolicy] = Store()
        self.cluster_policies: Store[ClusterMtlsPolicy] = Store()
        self.services: Store[Service] = Store()
        self.index = PolicyIndex(self.pods, self.namespaces, self.policies, self.cluster_policies)
        self.authorities = AuthoritySet("cluster.local", (authority(1),))
        self.events: list[tuple[str, str, str]] = []
        self.held_back: list[Callable[[], None]] | None = None
        self.api.watchers.append(self._watch)

    @asynccontextmanager
    async def issuer(self, **pace: Any) -> AsyncIterator[Issuer]:
        """A controller's life."""
        self.registry = Registry()
        ranges = (ip_network("10.0.0.0/8"),)
        issuer = Issuer(
            self.api,
            self.pods,
            self.secrets,
            self.index,
            ConfigSource("cluster.local", "handfast-system", self.index, self.services, lambda: ranges),
            self.authorities,
            event=lambda pod, _kind, reason, message: self.events.append((pod.name, reason, message)),
            registry=self.registry,
            time=self.time,
            pace=Pace(**pace) if pace else None,
        )
        running = asyncio.ensure_future(issuer.run())
        await self.time.advance(NOTHING)
        try:
            yield issuer
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _watch(self, path: str, raw: dict[str, Any] | None, version: int) -> None:
        namespace, name = path.split("/")[4], path.split("/")[6]
        meta = parse_secret_meta(raw) if raw is not None else None
        if meta is not None and meta.labels.get("handfast.dev/identity") != "true":
            meta = None

        def tell() -> None:
            if meta is not None:
                self.secrets.put(meta)
            else:
                self.secrets.remove((namespace, name), version)

        (self.held_back.append if self.held_back is not None else lambda now: now())(tell)

    def release(self) -> None:
        """The watch catches up."""
        for tell in self.held_back or ():
            tell()
        self.held_back = None

    async def settle(self, passed: timedelta = NOTHING) -> None:
        await self.time.advance(passed)

    def material(self, path: str = PATH) -> Material:
        """The Secret as a sidecar reads it."""
        data = self.api.objects[path]["data"]
        files = (base64.b64decode(data[name]) for name in ("tls.crt", "tls.key", "ca.crt", "config.json"))
        return parse_material(*files)

    def damage(self, files: Mapping[str, bytes | None], path: str = PATH) -> None:
        """Somebody edits the data; None removes a file."""
        raw = self.api.objects[path]
        data = {name: value for name, value in raw["data"].items() if name not in files}
        data |= {name: base64.b64encode(value).decode() for name, value in files.items() if value is not None}
        self.api.put(path, {**raw, "data": data})

    def apply(self, mode: Mode, version: int, **spec: Any) -> None:
        self.policies.put(
            MtlsPolicy("shop", "p", "uid-p", version, version, "2026-01-01T00:00:00Z", None, PolicySpec(mode, **spec))
        )

    def metric(self, name: str) -> str:
        return next(line for line in self.registry.render().splitlines() if line.startswith(name)).split()[-1]


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
        await world.settle(12 * HOUR - timedelta(minutes=1))
        first = world.material()
        assert world.api.calls == [("create", SECRETS)]
        await world.settle(4 * HOUR + timedelta(minutes=2))
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
