"""What owners of pods are told of obstacles, once for each workload, and when it is looked at."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.network_policies import parse_network_policy
from handfast_operator.cluster.objects import ContainerPort, Namespace, Pod
from handfast_operator.cluster.services import Service
from handfast_operator.cluster.store import Store
from handfast_operator.cluster.workload import Workload, workload_of
from handfast_operator.controller import obstacles
from handfast_operator.controller.events import EventWriter, Regarding
from handfast_operator.controller.obstacles import HostPorts, Obstacles, Say
from handfast_operator.controller.reports import Reports
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy, PolicySpec
from handfast_sidecar.policy.effective import Mode
from support.api_server import ApiServer, api_server
from support.memory_api import MemoryApi
from support.objects import pod
from support.virtual_time import VirtualTime

IMAGE = "localhost/handfast-sidecar:test"
Raw = dict[str, Any]


def network_policy(name: str = "orders", version: int = 1, **spec: Any) -> Raw:
    meta = {"namespace": "shop", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    chosen = {"podSelector": {"matchLabels": {"app": "orders"}}, "ingress": [{"ports": [{"port": 8080}]}], **spec}
    return {"metadata": meta, "spec": chosen}


def mtls_policy(mode: Mode, version: int = 1) -> MtlsPolicy:
    return MtlsPolicy("shop", "strict", "u", version, version, "2026-01-01T00:00:00Z", None, PolicySpec(mode))


def app(name: str, number: int = 0, **more: Any) -> Pod:
    return pod(
        "shop", f"{name}-{number}", labels={"app": name}, ips=(f"10.0.{number}.{len(name)}",),
        owner=f"StatefulSet/{name}", ports=(ContainerPort("http", 8080),), **more,
    )  # fmt: skip


class World:
    """The stores, and what was said."""

    def __init__(self, client: ApiClient | None = None) -> None:
        self.pods, self.namespaces, self.services = Store[Pod](), Store[Namespace](), Store[Service]()
        self.policies = Store[MtlsPolicy]()
        self.index = PolicyIndex(self.pods, self.namespaces, self.policies, Store[ClusterMtlsPolicy](), "cluster.local")
        self.said: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()
        self.notes: list[str] = []
        if client is not None:
            self.obstacles = Obstacles(
                client, self.pods, self.namespaces, self.services, self.index, "handfast-system", self.say
            )

    def say(self, regarding: Regarding, kind: str, reason: str, note: str) -> None:
        self.notes.append(note)
        self.said.put_nowait((regarding.name, kind, reason))

    async def next(self) -> tuple[str, str, str]:
        return await asyncio.wait_for(self.said.get(), 10)


@asynccontextmanager
async def looking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[World, ApiServer]]:
    """A reconciler that follows an API server, with its pauses made short."""
    monkeypatch.setattr(obstacles, "SETTLE_S", 0.01)
    monkeypatch.setattr(obstacles, "PAUSE_S", 0.01)
    monkeypatch.setattr(obstacles, "SHARE", 0)
    async with api_server() as (server, client):
        world = World(client)
        task = asyncio.create_task(world.obstacles.run())
        try:
            yield world, server
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_a_policy_that_is_applied_is_told_and_so_is_a_client_that_comes_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with looking(monkeypatch) as (world, server):
        world.pods.put(app("orders"))
        watch = await server.watch()
        watch.event("ADDED", network_policy(version=5))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.said.get(), 0.2)
        world.pods.put(app("web"))
        assert await world.next() == ("orders-0", "Warning", "MeshPortBlocked")
        assert "from StatefulSet shop/web" in world.notes[0]


async def test_a_policy_that_was_mended_is_not_told_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking(monkeypatch) as (world, server):
        world.pods.put(app("orders"))
        world.pods.put(app("web"))
        watch = await server.watch()
        watch.event("ADDED", network_policy(version=5))
        await world.next()
        watch.event("MODIFIED", network_policy(version=6, ingress=[{"ports": [{"port": 8080}, {"port": 14008}]}]))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.said.get(), 0.3)


async def test_a_status_that_changes_makes_nobody_look_and_a_label_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking(monkeypatch) as (world, server):
        world.pods.put(app("orders"))
        world.pods.put(app("web"))
        (await server.watch()).event("ADDED", network_policy(version=5))
        await world.next()
        world.pods.put(app("web", version=2, ready=False))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.said.get(), 0.3)
        world.namespaces.put(Namespace("shop", 3, {"team": "shop"}, terminating=False))
        await world.next()


@pytest.mark.parametrize(
    "absent", [{"meshed": False}, {"host_network": True}, {"phase": "Succeeded"}, {"deleting": True}]
)
async def test_pods_without_a_tunnel_to_open_are_not_spoken_of(absent: dict[str, Any]) -> None:
    async with api_server() as (_server, client):
        world = World(client)
        world.obstacles.policies.put(parse_network_policy(network_policy()))
        world.pods.put(app("orders"))
        world.pods.put(app("web", **absent))
        await world.obstacles.look()
        assert world.notes == []
        world.pods.put(app("web"))
        await world.obstacles.look()
        assert len(world.notes) == 1


async def test_the_directory_is_found_by_its_account_and_reached_by_its_service() -> None:
    shut = network_policy("shut", podSelector={}, policyTypes=["Egress"], egress=[{"ports": [{"port": 9999}]}])
    async with api_server() as (_server, client):
        world = World(client)
        world.pods.put(app("web"))
        world.pods.put(
            pod("handfast-system", "handfast-directory-0", service_account="handfast-directory", ips=("10.9.9.9",),
                meshed=False, owner="ReplicaSet/handfast-directory-1")
        )  # fmt: skip
        world.obstacles.policies.put(parse_network_policy(shut))
        await world.obstacles.look()
        assert await world.next() == ("web-0", "Warning", "DirectoryBlocked")
        world.services.put(Service("handfast-system", "handfast-directory", 1, ("10.96.0.10",), ()))
        to_service = [{"ports": [{"port": 14010}], "to": [{"ipBlock": {"cidr": "10.96.0.10/32"}}]}]
        world.obstacles.policies.put(
            parse_network_policy(network_policy("shut", podSelector={}, policyTypes=["Egress"], egress=to_service))
        )
        await world.obstacles.look()
        assert world.said.empty()


async def written(say_all: Callable[[Say], object]) -> list[Raw]:
    """The Events that reach the API server."""
    api, clock = MemoryApi(), VirtualTime()
    writer = EventWriter(api, "handfast-controller-0", clock)
    say_all(writer.say)
    task = asyncio.create_task(writer.run())
    await clock.advance(timedelta(seconds=1))
    task.cancel()
    await asyncio.wait([task])
    return list(api.objects.values())


async def test_a_thousand_pods_of_a_workload_without_a_sidecar_make_one_event() -> None:
    world = World()
    world.namespaces.put(Namespace("shop", 1, {"handfast.dev/inject": "enabled"}, terminating=False))

    def say_all(say: Say) -> None:
        Reports(world.pods, world.namespaces, world.index, "handfast-system", IMAGE, say)
        for number in range(1000):
            world.pods.put(app("orders", number, meshed=False))
        world.pods.put(app("web", meshed=False))

    events = await written(say_all)
    assert [(each["regarding"]["name"], each["reason"]) for each in events] == [
        ("orders-0", "NotInjected"),
        ("web-0", "NotInjected"),
    ]
    assert "kubectl rollout restart statefulset/orders -n shop" in events[0]["note"]


async def test_the_next_rollout_of_a_deployment_is_told_again() -> None:
    world = World()
    world.namespaces.put(Namespace("shop", 1, {"handfast.dev/inject": "enabled"}, terminating=False))

    def say_all(say: Say) -> None:
        Reports(world.pods, world.namespaces, world.index, "handfast-system", IMAGE, say)
        for name, owner in (("a-1", "ReplicaSet/a"), ("a-2", "ReplicaSet/a"), ("b-1", "ReplicaSet/b")):
            world.pods.put(pod("shop", name, meshed=False, owner=owner))

    assert [each["regarding"]["name"] for each in await written(say_all)] == ["a-1", "b-1"]


def test_a_host_port_is_told_when_its_policy_becomes_strict() -> None:
    world = World()
    HostPorts(world.pods, world.index, world.say)
    world.pods.put(pod("shop", "web", ports=(ContainerPort("http", 8080, 80),)))
    world.pods.put(pod("shop", "other", ports=(ContainerPort("http", 8080),)))
    assert world.notes == []
    world.policies.put(mtls_policy(Mode.STRICT))
    assert len(world.notes) == 1
    assert "MTLSPolicy shop/strict asks for Strict" in world.notes[0]
    world.policies.put(mtls_policy(Mode.PERMISSIVE, 2))
    assert len(world.notes) == 1


def test_a_pod_with_a_host_port_that_comes_later_is_told_of_at_once_and_once() -> None:
    world = World()
    HostPorts(world.pods, world.index, world.say)
    world.policies.put(mtls_policy(Mode.STRICT))
    for version in (1, 2):
        world.pods.put(pod("shop", "web", version=version, ports=(ContainerPort("http", 8080, 80),)))
    assert len(world.notes) == 1


@pytest.mark.parametrize(
    ("owner", "labels", "workload", "restart"),
    [
        ("", {}, Workload("Pod", "shop", "p"), "delete the pod and create it again"),
        (
            "ReplicaSet/orders-7d9f",
            {"pod-template-hash": "7d9f"},
            Workload("Deployment", "shop", "orders"),
            "kubectl rollout restart deployment/orders -n shop",
        ),
        (
            "ReplicaSet/orders-7d9f",
            {},
            Workload("ReplicaSet", "shop", "orders-7d9f"),
            "delete the pod, so that ReplicaSet orders-7d9f makes another",
        ),
        (
            "DaemonSet/logs",
            {},
            Workload("DaemonSet", "shop", "logs"),
            "kubectl rollout restart daemonset/logs -n shop",
        ),
        ("Job/nightly", {}, Workload("Job", "shop", "nightly"), "delete the pod, so that Job nightly makes another"),
    ],
)
def test_a_workload_is_named_as_its_owner_knows_it(
    owner: str, labels: dict[str, str], workload: Workload, restart: str
) -> None:
    found = workload_of(pod("shop", "p", owner=owner, labels=labels))
    assert (found, found.restart) == (workload, restart)
