"""Mode `Auto` on its way through the controller: evidence and pods in, status, Event and the sidecars' mode out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from handfast_operator.cluster.kinds import CLUSTER_MTLS_POLICIES, MTLS_POLICIES
from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller.events import Regarding
from handfast_operator.controller.promotion import Promotions
from handfast_operator.controller.status import StatusWriter, Target
from handfast_operator.evidence.view import EdgeView, EvidenceView, Party, PodReport
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy
from handfast_sidecar.policy.effective import Mode
from support.memory_api import MemoryApi
from support.objects import pod
from support.virtual_time import VirtualTime, settle

Json = dict[str, Any]
AUTO = Target(MTLS_POLICIES, "shop", "auto")
WIDE = Target(CLUSTER_MTLS_POLICIES, "", "wide")
HOUR = timedelta(hours=1)
REPORT_EVERY = timedelta(seconds=10)


class MemoryEvidence:
    """A source of evidence whose sidecars are here: what they report is what a test made them see."""

    def __init__(self) -> None:
        self.view = EvidenceView(0)
        self.silent: set[str] = set()
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None], /) -> None:
        self._listeners.append(listener)

    def served(self, now: float, client: str = "deployment/cart", **more: Any) -> None:
        """A plaintext connection to orders."""
        fields: Json = {"last_carried": now, **more}
        edge = EdgeView(Party("old", client), Party("shop", "pod/orders"), 8080, False, 1, last_seen=now, **fields)
        self.view = replace(self.view, edges=(*(each for each in self.view.edges if each.key != edge.key), edge))

    def report(self, now: float, pods: Store[Pod]) -> None:
        """Every sidecar that is not silent says what it knows."""
        said = {
            each.uid: PodReport(f"{each.namespace}/{each.name}", "", now, "", "", "", 1)
            for each in pods
            if each.meshed and each.name not in self.silent
        }
        self.view = replace(self.view, at=now, pods={**self.view.pods, **said})
        for listener in self._listeners:
            listener()


class Rig:
    """A controller's part that concerns `Auto`; the API server's watch shows each write at once."""

    def __init__(self) -> None:
        self.api, self.time = MemoryApi(), VirtualTime()
        self.pods, self.namespaces = Store[Pod](), Store[Namespace]()
        self.policies, self.cluster_policies = Store[MtlsPolicy](), Store[ClusterMtlsPolicy]()
        self.evidence = MemoryEvidence()
        self.events: list[tuple[str, str, str, str]] = []
        self.api.watchers.append(self._seen)
        self.begin()

    def begin(self) -> None:
        """A controller that starts, with what the API server shows and no more."""
        self.index = PolicyIndex(self.pods, self.namespaces, self.policies, self.cluster_policies, "cluster.local")
        self.promotions = Promotions(
            self.pods,
            self.policies,
            self.cluster_policies,
            self.index,
            self.evidence,
            say=self._say,
            time=self.time,
        )
        self.writer = StatusWriter(
            self.api,
            self.index,
            self.pods,
            promotion=self.promotions.status,
            clock=self.time.now,
            pause=self._pause,
        )
        self.promotions.changed = self.writer.mark
        for path in list(self.api.objects):
            self._seen(path, self.api.objects[path], 0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.promotions.run()), asyncio.create_task(self.writer.run())]
        await settle()
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def passes(self, time: timedelta, *, reporting: bool = True) -> None:
        """Time, and the reports in it."""
        end = self.time.now() + time
        while self.time.now() < end:
            await self.time.advance(min(REPORT_EVERY, end - self.time.now()))
            if reporting:
                self.evidence.report(self.now, self.pods)
        await self.time.advance(timedelta(seconds=2))

    @property
    def now(self) -> float:
        return self.time.now().timestamp()

    async def apply(self, target: Target, **spec: Any) -> None:
        """As a person does with kubectl: the status stays."""
        self.put(target, **spec)
        await settle()

    def put(self, target: Target, **spec: Any) -> None:
        """And the controller has no time to do anything about it."""
        path = target.kind.item(target.namespace, target.name)
        known = self.api.objects.get(path, {})
        generation = known.get("metadata", {}).get("generation", 0) + 1
        metadata = {
            "name": target.name,
            "namespace": target.namespace,
            "uid": f"uid-{target.name}",
            "generation": generation,
            "creationTimestamp": "2026-03-01T00:00:00Z",
        }
        self.api.put(path, known | {"metadata": metadata, "spec": spec})

    def status(self, target: Target = AUTO) -> Json:
        found: Json = self.api.objects[target.kind.item(target.namespace, target.name)].get("status", {})
        return found

    def state(self, target: Target = AUTO) -> str:
        """The reason of the condition; empty without one."""
        conditions = {each["type"]: each["reason"] for each in self.status(target).get("conditions", ())}
        return str(conditions.get("Promoted", ""))

    def mode(self, name: str = "orders", namespace: str = "shop") -> Mode:
        """What its sidecar is told."""
        found = self.pods.get(namespace, name)
        assert found is not None
        return self.index.compiled(found).policy.default.mode

    def _seen(self, path: str, raw: Json | None, _version: int) -> None:
        if raw is None:
            return
        meta = raw["metadata"]
        if "/clustermtlspolicies/" in path:
            self.cluster_policies.put(parse_cluster_mtls_policy(raw))
            self.writer.see(Target(CLUSTER_MTLS_POLICIES, "", meta["name"]), raw)
        else:
            self.policies.put(parse_mtls_policy(raw))
            self.writer.see(Target(MTLS_POLICIES, meta["namespace"], meta["name"]), raw)

    def _say(self, regarding: Regarding, kind: str, reason: str, note: str) -> None:
        self.events.append((f"{regarding.kind} {regarding.namespace}/{regarding.name}", kind, reason, note))

    async def _pause(self, _seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """One meshed pod, and a policy that waits for an hour."""
    made = Rig()
    made.pods.put(pod("shop", "orders"))
    await made.apply(AUTO, mode="Auto", promoteAfter="1h")
    async with made.running():
        yield made


async def test_a_quiet_hour_promotes_with_an_event_and_the_sidecars_are_told(rig: Rig) -> None:
    told: list[str] = []
    await rig.passes(HOUR - REPORT_EVERY)
    assert (rig.mode(), rig.state()) == (Mode.PERMISSIVE, "WaitingForQuiet")
    rig.index.subscribe(lambda each: told.append(each.name))
    await rig.passes(REPORT_EVERY * 2)
    assert (rig.mode(), rig.state(), told) == (Mode.STRICT, "Promoted", ["orders"])
    assert rig.events == [
        (
            "MTLSPolicy shop/auto",
            "Normal",
            "PromotedToStrict",
            "no plaintext client for 1h: plaintext is refused from now on; to let it in again, set mode to Permissive",
        )
    ]


async def test_a_quiet_hour_costs_two_writes(rig: Rig) -> None:
    await rig.passes(HOUR * 2)
    assert rig.api.count("patch") == 2


async def test_a_plaintext_client_is_named_and_holds_it_back(rig: Rig) -> None:
    await rig.passes(HOUR / 2)
    rig.evidence.served(rig.now)
    await rig.passes(REPORT_EVERY)
    assert rig.state() == "PlaintextSeen"
    assert rig.status()["plaintextClients"] == [
        {"namespace": "old", "name": "deployment/cart", "port": 8080, "lastSeen": "2026-03-01T12:30:02Z"}
    ]
    assert rig.status()["plaintextClientsTotal"] == 1
    await rig.passes(HOUR - REPORT_EVERY * 4)
    assert rig.mode() is Mode.PERMISSIVE
    await rig.passes(REPORT_EVERY * 4)
    assert rig.mode() is Mode.STRICT


async def test_an_open_connection_holds_it_back_for_ever(rig: Rig) -> None:
    rig.evidence.served(rig.now, open=1)
    await rig.passes(HOUR * 3)
    assert (rig.mode(), rig.state()) == (Mode.PERMISSIVE, "PlaintextSeen")


async def test_who_tries_after_the_promotion_changes_nothing(rig: Rig) -> None:
    await rig.passes(HOUR + REPORT_EVERY)
    rig.evidence.served(rig.now)
    await rig.passes(HOUR)
    assert (rig.mode(), rig.state(), len(rig.events)) == (Mode.STRICT, "Promoted", 1)


async def test_back_to_permissive_by_hand_sticks_and_leaves_nothing_in_the_status(rig: Rig) -> None:
    await rig.passes(HOUR + REPORT_EVERY)
    await rig.apply(AUTO, mode="Permissive")
    await rig.passes(HOUR * 3)
    assert rig.mode() is Mode.PERMISSIVE
    assert rig.state() == ""
    assert {name: rig.status().get(name) for name in ("promotion", "plaintextClients", "plaintextClientsTotal")} == {
        "promotion": None,
        "plaintextClients": None,
        "plaintextClientsTotal": None,
    }


async def test_auto_again_begins_anew_however_fast_the_change_was(rig: Rig) -> None:
    await rig.passes(HOUR + REPORT_EVERY)
    rig.put(AUTO, mode="Permissive")
    rig.put(AUTO, mode="Auto", promoteAfter="1h")
    await rig.passes(REPORT_EVERY)
    assert (rig.mode(), rig.state()) == (Mode.PERMISSIVE, "WaitingForQuiet")
    await rig.passes(HOUR)
    assert rig.mode() is Mode.STRICT


async def test_another_field_of_the_spec_does_not_restart_the_clock(rig: Rig) -> None:
    await rig.passes(HOUR / 2)
    await rig.apply(AUTO, mode="Auto", promoteAfter="1h", enforcement="Audit")
    await rig.passes(HOUR / 2 + REPORT_EVERY)
    assert rig.mode() is Mode.STRICT


async def test_new_pods_and_pods_that_go_restart_nothing(rig: Rig) -> None:
    for number in range(8):
        rig.pods.put(pod("shop", f"orders-{number}"))
        await rig.passes(HOUR / 8)
        rig.pods.remove(("shop", f"orders-{number}"), 1000 + number)
    await rig.passes(REPORT_EVERY)
    assert rig.mode() is Mode.STRICT


async def test_the_clock_stands_while_a_sidecar_is_silent_and_its_pod_is_named(rig: Rig) -> None:
    await rig.passes(HOUR / 2)
    rig.evidence.silent = {"orders"}
    await rig.passes(HOUR * 5)
    assert (rig.mode(), rig.state()) == (Mode.PERMISSIVE, "Unreported")
    rig.evidence.silent = set()
    await rig.passes(HOUR / 2 - REPORT_EVERY)
    assert (rig.mode(), rig.state()) == (Mode.PERMISSIVE, "WaitingForQuiet")
    await rig.passes(REPORT_EVERY * 3)
    assert rig.mode() is Mode.STRICT


async def test_a_sidecar_that_does_not_run_and_a_pod_that_goes_are_not_waited_for(rig: Rig) -> None:
    rig.evidence.silent = {"crashed", "leaving"}
    rig.pods.put(replace(pod("shop", "crashed"), proxy_running=False))
    rig.pods.put(pod("shop", "leaving", deleting=True))
    await rig.passes(HOUR + REPORT_EVERY)
    assert rig.mode() is Mode.STRICT


async def test_without_any_evidence_the_clock_stands() -> None:
    rig = Rig()
    rig.begin()
    rig.pods.put(pod("shop", "orders"))
    await rig.apply(AUTO, mode="Auto", promoteAfter="1h")
    async with rig.running():
        await rig.passes(HOUR * 30, reporting=False)
    assert (rig.mode(), rig.state()) == (Mode.PERMISSIVE, "Unreported")


async def test_a_policy_that_decides_for_nobody_says_so_and_is_not_promoted(rig: Rig) -> None:
    rig.pods.remove(("shop", "orders"), 1000)
    await rig.passes(HOUR * 2)
    assert rig.state() == "SelectsNothing"
    rig.pods.put(pod("shop", "orders"))
    await rig.passes(HOUR - REPORT_EVERY * 2)
    assert rig.mode() is Mode.PERMISSIVE


async def test_another_controller_goes_on_where_this_one_stopped() -> None:
    rig = Rig()
    rig.pods.put(pod("shop", "orders"))
    await rig.apply(AUTO, mode="Auto", promoteAfter="1h")
    async with rig.running():
        await rig.passes(HOUR / 2)
    rig.begin()
    async with rig.running():
        await rig.passes(HOUR / 2 - REPORT_EVERY)
        assert rig.mode() is Mode.PERMISSIVE
        await rig.passes(REPORT_EVERY * 2)
        assert rig.mode() is Mode.STRICT
    rig.begin()
    async with rig.running():
        await rig.passes(HOUR)
        assert (rig.mode(), rig.state(), len(rig.events)) == (Mode.STRICT, "Promoted", 1)


async def test_a_controller_that_starts_writes_nothing_that_is_there_already() -> None:
    rig = Rig()
    rig.pods.put(pod("shop", "orders"))
    await rig.apply(AUTO, mode="Auto", promoteAfter="1h")
    async with rig.running():
        await rig.passes(HOUR / 2)
    before = rig.api.count("patch")
    rig.begin()
    async with rig.running():
        await rig.passes(REPORT_EVERY * 3)
    assert rig.api.count("patch") == before


async def test_a_status_that_somebody_else_wrote_is_put_right(rig: Rig) -> None:
    await rig.passes(REPORT_EVERY)
    path = AUTO.kind.item("shop", "auto")
    known = rig.api.objects[path]
    rig.api.put(path, known | {"status": known["status"] | {"promotion": {"promotedAt": "2026-01-01T00:00:00Z"}}})
    await rig.passes(REPORT_EVERY)
    assert "promotedAt" not in rig.status()["promotion"]
    assert rig.mode() is Mode.PERMISSIVE


async def test_a_cluster_policy_is_promoted_as_a_whole(rig: Rig) -> None:
    rig.pods.put(pod("front", "web"))
    await rig.apply(WIDE, mode="Auto", promoteAfter="1h")
    rig.pods.put(pod("front", "slow"))
    await rig.passes(HOUR / 2)
    rig.evidence.silent = {"slow"}
    await rig.passes(HOUR)
    assert (rig.mode("web", "front"), rig.state(WIDE)) == (Mode.PERMISSIVE, "Unreported")
    assert (rig.mode(), rig.state()) == (Mode.STRICT, "Promoted")
    rig.pods.remove(("front", "slow"), 1000)
    await rig.passes(HOUR)
    assert (rig.mode("web", "front"), rig.state(WIDE)) == (Mode.STRICT, "Promoted")


async def test_a_policy_that_was_deleted_and_made_again_begins_anew(rig: Rig) -> None:
    await rig.passes(HOUR + REPORT_EVERY)
    path = AUTO.kind.item("shop", "auto")
    rig.api.remove(path)
    rig.policies.remove(("shop", "auto"), 5000)
    rig.writer.forget(AUTO)
    await rig.apply(AUTO, mode="Auto", promoteAfter="1h")
    await rig.passes(REPORT_EVERY)
    assert (rig.mode(), rig.state()) == (Mode.PERMISSIVE, "WaitingForQuiet")
