"""Statuses: right after every change, and silent otherwise."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.gates import Witness
from handfast_operator.authority.root import make_root
from handfast_operator.authority.rotation import plan
from handfast_operator.authority.state import AuthorityState
from handfast_operator.authority.steps import Situation
from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.kinds import CLUSTER_MTLS_POLICIES, MTLS_POLICIES, TRUST_DOMAINS
from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller.rotation import Standing
from handfast_operator.controller.status import LOOK_AGAIN_S, MOST_REST_S, SETTLE_S, StatusWriter, Target
from handfast_operator.controller.trust_domain_status import TrustDomainStatus
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy
from handfast_operator.resources.trust_domain import RotationSpec
from support.memory_api import MemoryApi
from support.objects import pod
from support.virtual_time import START

Json = dict[str, Any]
WHOLE = Target(MTLS_POLICIES, "shop", "whole")
DEFAULT = Target(CLUSTER_MTLS_POLICIES, "", "default")
OURS = Target(TRUST_DOMAINS, "", "cluster.local")


def authority() -> Authority:
    root = make_root("cluster.local", START)
    return Authority("handfast-authority-1", "cluster.local", AuthorityState.ACTIVE, root.certificate, root.key)


class Rig:
    """What the watches show is what was written, at once."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.now = START
        self.pods, self.namespaces = Store[Pod](), Store[Namespace]()
        self.policies, self.cluster_policies = Store[MtlsPolicy](), Store[ClusterMtlsPolicy]()
        self.index = index = PolicyIndex(
            self.pods, self.namespaces, self.policies, self.cluster_policies, "cluster.local"
        )
        self.authorities = AuthoritySet("cluster.local", (authority(),))
        self.witnesses: list[Witness] = []
        self.paused = asyncio.Event()
        self.writer = StatusWriter(
            self.api,
            index,
            self.pods,
            kinds=TrustDomainStatus(self.standing, self.clock).kinds(),
            clock=self.clock,
            pause=self.pause,
        )

    def standing(self) -> Standing:
        situation = Situation(RotationSpec(), timedelta(days=1), self.witnesses)
        return Standing(self.authorities, plan(self.now, self.authorities, situation))

    def clock(self) -> datetime:
        return self.now

    async def pause(self, _seconds: float) -> None:
        await asyncio.sleep(0)

    def apply(self, target: Target, spec: Json, generation: int = 1) -> None:
        """As a person does with kubectl."""
        path = target.kind.item(target.namespace, target.name)
        metadata = {
            "name": target.name,
            "namespace": target.namespace,
            "uid": f"uid-{target.name}",
            "generation": generation,
            "creationTimestamp": "2026-03-01T00:00:00Z",
        }
        before = self.api.objects.get(path, {})
        self.api.put(path, before | {"metadata": metadata, "spec": spec})
        raw = self.api.objects[path]
        if target.kind == MTLS_POLICIES:
            self.policies.put(parse_mtls_policy(raw))
        elif target.kind == CLUSTER_MTLS_POLICIES:
            self.cluster_policies.put(parse_cluster_mtls_policy(raw))
        self.writer.see(target, raw)

    def status(self, target: Target) -> Json:
        found: Json = self.api.objects[target.kind.item(target.namespace, target.name)]["status"]
        return found

    def condition(self, target: Target, name: str) -> tuple[str, str]:
        found = next(each for each in self.status(target)["conditions"] if each["type"] == name)
        return found["status"], found["reason"]


async def test_a_policy_says_whom_it_selects() -> None:
    rig = Rig()
    rig.pods.put(pod("shop", "cart"))
    rig.pods.put(pod("shop", "old", meshed=False))
    rig.apply(WHOLE, {"mode": "Strict"})
    await rig.writer.write_marked()
    assert (rig.status(WHOLE)["selected"], rig.status(WHOLE)["unmeshed"]) == (1, 1)
    assert rig.condition(WHOLE, "Ready") == ("True", "Selecting")


async def test_a_status_that_is_right_is_not_written() -> None:
    rig = Rig()
    rig.apply(WHOLE, {"mode": "Strict"})
    await rig.writer.write_marked()
    rig.writer.see(WHOLE, rig.api.objects[WHOLE.kind.item("shop", "whole")])
    rig.writer.mark_policies()
    await rig.writer.write_marked()
    assert rig.api.count("patch") == 1


async def test_a_pod_that_appears_is_counted_and_one_that_only_runs_asks_for_nothing() -> None:
    rig = Rig()
    rig.apply(WHOLE, {"mode": "Strict"})
    await rig.writer.write_marked()
    cart = pod("shop", "cart")
    rig.pods.put(cart)
    await rig.writer.write_marked()
    assert rig.status(WHOLE)["selected"] == 1
    rig.pods.put(replace(cart, resource_version=2, ips=("10.0.0.1",), ready=False))
    await rig.writer.write_marked()
    assert rig.api.count("patch") == 2


async def test_an_event_from_before_our_own_write_does_not_undo_it() -> None:
    rig = Rig()
    rig.apply(WHOLE, {"mode": "Strict"})
    late = rig.api.objects[WHOLE.kind.item("shop", "whole")]
    await rig.writer.write_marked()
    rig.writer.see(WHOLE, late)
    await rig.writer.write_marked()
    assert rig.api.count("patch") == 1


async def test_a_new_policy_is_a_reason_to_look_at_all_others() -> None:
    rig = Rig()
    rig.pods.put(pod("shop", "cart"))
    rig.apply(Target(MTLS_POLICIES, "shop", "whole-too"), {"mode": "Strict"})
    await rig.writer.write_marked()
    rig.apply(WHOLE, {"mode": "Permissive"})
    await rig.writer.write_marked()
    assert rig.condition(Target(MTLS_POLICIES, "shop", "whole-too"), "Conflicted") == ("True", "OlderPolicyWins")


async def test_somebody_elses_status_is_put_right() -> None:
    rig = Rig()
    rig.apply(WHOLE, {"mode": "Strict"})
    await rig.writer.write_marked()
    path = WHOLE.kind.item("shop", "whole")
    rig.api.put(path, rig.api.objects[path] | {"status": {"selected": 99}})
    rig.writer.see(WHOLE, rig.api.objects[path])
    await rig.writer.write_marked()
    assert rig.status(WHOLE)["selected"] == 0


async def test_a_status_that_could_not_be_written_is_tried_again() -> None:
    rig = Rig()
    rig.apply(DEFAULT, {"mode": "Strict"})
    rig.api.failures = [ApiError(500, "InternalError", "etcd is away")]
    assert not await rig.writer.write_marked()
    assert await rig.writer.write_marked()
    assert rig.condition(DEFAULT, "Accepted") == ("True", "Valid")


async def test_an_object_that_is_gone_is_forgotten() -> None:
    rig = Rig()
    rig.apply(WHOLE, {"mode": "Strict"})
    rig.api.remove(WHOLE.kind.item("shop", "whole"))
    assert await rig.writer.write_marked()
    rig.writer.mark_policies()
    await rig.writer.write_marked()
    assert rig.api.count("patch") == 1


async def test_a_trust_domain_lists_its_authorities() -> None:
    rig = Rig()
    rig.apply(OURS, {"issuer": {"selfSigned": {}}})
    await rig.writer.write_marked()
    [listed] = rig.status(OURS)["authorities"]
    assert (listed["name"], listed["state"]) == ("handfast-authority-1", "Active")
    assert listed["notAfter"] == "2026-05-30T12:00:00Z"
    assert rig.condition(OURS, "Ready") == ("True", "Issuing")


async def test_a_rotation_is_told_and_nothing_is_left_of_it_when_it_ended() -> None:
    rig = Rig()
    one = rig.authorities.active
    two = replace(authority(), name="handfast-authority-2", state=AuthorityState.DISTRIBUTED)
    rig.authorities = AuthoritySet("cluster.local", (one, two))
    rig.witnesses = [Witness(f"shop/cart-{number}", rig.now, "another bundle") for number in range(25)]
    rig.apply(OURS, {"issuer": {"selfSigned": {}}})
    await rig.writer.write_marked()
    told = rig.status(OURS)["rotation"]
    assert (told["state"], told["authority"], told["waiting"]) == ("Distributing", "handfast-authority-2", 25)
    assert [each["reason"] for each in told["stragglers"]] == ["old_bundle"] * 20
    assert [each["name"][-1] for each in rig.status(OURS)["authorities"]] == ["2", "1"]
    assert rig.condition(OURS, "Rotating") == ("True", "Distributing")
    rig.authorities = AuthoritySet("cluster.local", (one,))
    rig.writer.mark_trust_domains()
    await rig.writer.write_marked()
    told = rig.status(OURS)["rotation"]
    assert (told["state"], "authority" in told, "since" in told) == ("Idle", False, False)
    written = rig.api.count("patch")
    rig.writer.mark_trust_domains()
    await rig.writer.write_marked()
    assert rig.api.count("patch") == written


async def test_a_trust_domain_without_an_authority_says_so() -> None:
    rig = Rig()
    rig.authorities = AuthoritySet("cluster.local", ())
    rig.apply(OURS, {"issuer": {"selfSigned": {}}})
    await rig.writer.write_marked()
    assert rig.condition(OURS, "Ready") == ("False", "NoAuthority")


async def test_a_trust_domain_that_nobody_serves_says_so() -> None:
    rig = Rig()
    other = Target(TRUST_DOMAINS, "", "other.example")
    rig.apply(other, {"issuer": {"selfSigned": {}}})
    await rig.writer.write_marked()
    assert rig.condition(other, "Ready") == ("False", "NotServed")


async def test_the_loop_writes_what_is_marked() -> None:
    rig = Rig()
    written = asyncio.Event()
    rig.api.watchers.append(lambda _path, raw, _version: written.set() if raw and "status" in raw else None)
    task = asyncio.create_task(rig.writer.run())
    rig.apply(WHOLE, {"mode": "Strict"})
    await written.wait()
    task.cancel()
    await asyncio.wait([task])


async def test_a_doubt_that_comes_with_time_alone_is_told_without_any_change() -> None:
    rig = Rig()
    rig.apply(WHOLE, {"enforcement": "Audit"})
    await rig.writer.write_marked()
    assert rig.condition(WHOLE, "Doubtful") == ("False", "NothingDoubtful")
    waited = asyncio.Event()

    async def pause(seconds: float) -> None:
        assert seconds == LOOK_AGAIN_S
        if waited.is_set():
            await asyncio.Event().wait()
        waited.set()

    rig.writer._pause, rig.now = pause, START + timedelta(days=8)
    task = asyncio.create_task(rig.writer.look_again())
    await waited.wait()
    await asyncio.sleep(0)
    task.cancel()
    await rig.writer.write_marked()
    assert rig.condition(WHOLE, "Doubtful") == ("True", "StillAudit")


async def test_the_writer_rests_after_a_round_and_never_for_long() -> None:
    rig, rests = Rig(), list[float]()
    clock = iter((0.0, 0.2, 10.0, 40.0))  # rounds of a fifth of a second, and of thirty: an API server in trouble
    twice = asyncio.Event()

    async def pause(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 4:
            twice.set()
        rig.writer.mark(DEFAULT)
        await asyncio.sleep(0)

    writer = StatusWriter(
        rig.api,
        rig.index,
        rig.pods,
        clock=rig.clock,
        pause=pause,
        timer=lambda: next(clock, 40.0),
    )
    rig.writer = writer
    writer.mark(DEFAULT)
    task = asyncio.create_task(writer.run())
    await twice.wait()
    task.cancel()
    assert [round(each, 6) for each in rests[:4]] == [SETTLE_S, 1.0, SETTLE_S, MOST_REST_S]
