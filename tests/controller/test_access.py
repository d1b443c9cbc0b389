"""Requests and grants through the writer of statuses: what is written, and what both sides are told by Events."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from handfast_operator.cluster.kinds import ACCESS_GRANTS, ACCESS_REQUESTS
from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller.access import AccessStatuses
from handfast_operator.controller.events import Regarding
from handfast_operator.controller.status import StatusWriter, Target
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.access import AccessGrant
from handfast_operator.resources.parse_access import parse_access_grant
from handfast_operator.resources.policies import AccessRule, Caller, MtlsPolicy, PolicySpec
from support.access import grant_body, request_body
from support.memory_api import MemoryApi
from support.objects import pod
from support.virtual_time import START

Json = dict[str, Any]
REQUEST = Target(ACCESS_REQUESTS, "web", "front")
GRANT = Target(ACCESS_GRANTS, "shop", "g")
REF = {"namespace": "web", "name": "front", "uid": "uid-front"}


@dataclass
class Said:
    kind: str
    namespace: str
    type: str
    reason: str
    note: str


class Rig:
    """A closed shop and the web, and a writer whose writes come back at once."""

    def __init__(self) -> None:
        self.now = START
        self.api = MemoryApi()
        self.pods, self.namespaces = Store[Pod](), Store[Namespace]()
        self.policies, self.grants = Store[MtlsPolicy](), Store[AccessGrant]()
        self.index = PolicyIndex(
            self.pods,
            self.namespaces,
            self.policies,
            Store(),
            "cluster.local",
            self.grants,
            self.seconds,
        )
        self.said: list[Said] = []
        access = AccessStatuses(self.index, self.namespaces, self.grants, "cluster.local", self.say, self.clock)
        self.writer = StatusWriter(
            self.api,
            self.index,
            self.pods,
            kinds=access.kinds(),
            clock=self.clock,
            pause=self.pause,
        )
        self.grants.subscribe(lambda _before, _after: self.writer.mark_policies())
        for name in ("shop", "web"):
            self.namespaces.put(Namespace(name, 1, {}, terminating=False))
        self.pods.put(pod("shop", "orders", labels={"app": "orders"}))
        self.pods.put(pod("web", "front", service_account="front"))
        closed = PolicySpec(allow=(AccessRule((Caller(service_account="cart"),)),))
        self.policies.put(MtlsPolicy("shop", "orders", "uid-orders", 1, 1, "2026-01-01T00:00:00Z", None, closed))

    def clock(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    async def pause(self, _seconds: float) -> None:
        await asyncio.sleep(0)

    def say(self, regarding: Regarding, kind: str, reason: str, note: str) -> None:
        self.said.append(Said(regarding.kind, regarding.namespace, kind, reason, note))

    def apply(self, target: Target, body: Json, generation: int = 1) -> None:
        path = target.kind.item(target.namespace, target.name)
        before = self.api.objects.get(path, {})
        metadata = body["metadata"] | {
            "uid": f"uid-{target.name}",
            "generation": generation,
            "creationTimestamp": self.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        self.api.put(path, before | body | {"metadata": metadata})
        raw = self.api.objects[path]
        if target.kind == ACCESS_GRANTS:
            self.grants.put(parse_access_grant(raw))
        self.writer.see(target, raw)

    def delete(self, target: Target) -> None:
        self.api.remove(target.kind.item(target.namespace, target.name))
        self.grants.remove((target.namespace, target.name), 9999)
        self.writer.forget(target)

    def condition(self, target: Target, name: str) -> str:
        status = self.api.objects[target.kind.item(target.namespace, target.name)]["status"]
        return str(next(each["reason"] for each in status["conditions"] if each["type"] == name))

    def events(self) -> list[tuple[str, str, str]]:
        said, self.said = self.said, []
        return [(each.kind, each.namespace, each.reason) for each in said]


async def test_both_sides_are_told_of_each_step_once() -> None:
    rig = Rig()
    rig.apply(REQUEST, request_body())
    await rig.writer.write_marked()
    assert rig.condition(REQUEST, "Active") == "Pending"
    assert rig.events() == [("AccessRequest", "web", "AccessRequested")]

    rig.apply(GRANT, grant_body(request=REF, answeredBy="jane"))
    await rig.writer.write_marked()
    assert (rig.condition(REQUEST, "Active"), rig.condition(GRANT, "Active")) == ("InForce", "InForce")
    assert sorted(rig.events()) == [
        ("AccessGrant", "shop", "AccessApproved"),
        ("AccessRequest", "web", "AccessApproved"),
    ]

    rig.now += timedelta(hours=8)
    rig.index.expire(rig.now.timestamp())
    rig.writer.mark_policies()
    await rig.writer.write_marked()
    assert (rig.condition(REQUEST, "Active"), rig.condition(GRANT, "Active")) == ("Expired", "Expired")
    assert sorted(rig.events()) == [
        ("AccessGrant", "shop", "AccessExpired"),
        ("AccessRequest", "web", "AccessExpired"),
    ]
    rig.writer.mark_policies()
    await rig.writer.write_marked()
    assert rig.events() == []


async def test_a_status_that_is_right_is_not_written() -> None:
    rig = Rig()
    rig.apply(REQUEST, request_body())
    rig.apply(GRANT, grant_body(request=REF))
    await rig.writer.write_marked()
    writes = rig.api.count("patch")
    rig.now += timedelta(hours=1)
    rig.writer.mark_policies()
    await rig.writer.write_marked()
    assert rig.api.count("patch") == writes


async def test_a_controller_that_starts_says_nothing_twice() -> None:
    rig = Rig()
    rig.apply(REQUEST, request_body())
    rig.apply(GRANT, grant_body(request=REF))
    await rig.writer.write_marked()
    rig.events()
    later = Rig()
    for target in (GRANT, REQUEST):
        path = target.kind.item(target.namespace, target.name)
        later.api.objects[path] = rig.api.objects[path]
        if target is GRANT:
            later.grants.put(parse_access_grant(later.api.objects[path]))
        later.writer.see(target, later.api.objects[path])
    await later.writer.write_marked()
    assert (later.api.count("patch"), later.events()) == (0, [])


async def test_a_grant_that_is_deleted_is_told_to_who_asked() -> None:
    rig = Rig()
    rig.apply(REQUEST, request_body())
    rig.apply(GRANT, grant_body(request=REF))
    await rig.writer.write_marked()
    rig.events()
    rig.now += timedelta(hours=1)
    rig.delete(GRANT)
    await rig.writer.write_marked()
    assert rig.condition(REQUEST, "Active") == "Revoked"
    assert rig.events() == [("AccessRequest", "web", "AccessRevoked")]


async def test_an_object_that_is_not_understood_says_so_and_stops_no_other() -> None:
    rig = Rig()
    rig.apply(REQUEST, request_body(duration="soon"))
    path = GRANT.kind.item("shop", "g")
    rig.api.put(path, grant_body(selector={}) | {"metadata": {"name": "g", "namespace": "shop", "uid": "u"}})
    rig.writer.see(GRANT, rig.api.objects[path])
    assert await rig.writer.write_marked()
    assert rig.condition(REQUEST, "Active") == rig.condition(GRANT, "Active") == "NotUnderstood"
