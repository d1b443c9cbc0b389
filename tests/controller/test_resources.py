"""kopf, embedded, against an API server that counts what is written: nothing may be."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from handfast_operator.cluster.kinds import MTLS_POLICIES, TRUST_DOMAINS
from handfast_operator.controller.resources import WatchEnded, ensure_trust_domain, kopf_settings, watch_resources
from handfast_operator.controller.status import Target
from support.api_server import serving
from support.memory_api import MemoryApi

Json = dict[str, Any]
GROUP = "/apis/handfast.dev/v1alpha1"
PLURALS = {"mtlspolicies": "MTLSPolicy", "clustermtlspolicies": "ClusterMTLSPolicy", "trustdomains": "TrustDomain"}
ORDERS = Target(MTLS_POLICIES, "shop", "orders")


def policy(version: int) -> Json:
    metadata = {"namespace": "shop", "name": "orders", "uid": "uid-orders", "resourceVersion": str(version)}
    return {
        "apiVersion": "handfast.dev/v1alpha1",
        "kind": "MTLSPolicy",
        "metadata": metadata,
        "spec": {"mode": "Strict"},
    }


def group(name: str, version: str) -> Json:
    return {"name": name, "versions": [{"version": version}], "preferredVersion": {"version": version}}


def resource(plural: str, kind: str) -> Json:
    verbs = ["create", "get", "list", "patch", "watch"]
    namespaced = plural == "mtlspolicies"
    return {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": namespaced, "verbs": verbs}


DISCOVERY: dict[str, Json] = {
    "/api": {"versions": ["v1"]},
    "/api/v1": {"resources": [resource("namespaces", "Namespace")]},
    "/apis": {"groups": [group("handfast.dev", "v1alpha1"), group("apiextensions.k8s.io", "v1")]},
    "/apis/apiextensions.k8s.io/v1": {"resources": [resource("customresourcedefinitions", "CustomResourceDefinition")]},
    GROUP: {"resources": [resource(plural, kind) for plural, kind in PLURALS.items()]},
}


class Cluster:
    """One policy, and a watch of it."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.says: asyncio.Queue[Json] = asyncio.Queue()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            self.written.append(f"{request.method} {request.path}")
        if request.path in DISCOVERY:
            return web.json_response(DISCOVERY[request.path])
        plural = request.path.removeprefix(GROUP + "/")
        if request.query.get("watch") == "true":
            return await self._watch(request, plural)
        items = [policy(5)] if plural == "mtlspolicies" else []
        return web.json_response({"kind": "List", "metadata": {"resourceVersion": "5"}, "items": items})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        says = self.says if plural == "mtlspolicies" else asyncio.Queue[Json]()
        while True:
            await response.write(json.dumps(await says.get()).encode() + b"\n")


class Seen:
    """Stands where the status writer does."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[str, Target]] = asyncio.Queue()

    def see(self, target: Target, raw: Json) -> None:
        self.told.put_nowait((raw["metadata"]["resourceVersion"], target))

    def forget(self, target: Target) -> None:
        self.told.put_nowait(("gone", target))


@asynccontextmanager
async def watching(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[tuple[Cluster, Seen, Any]]:
    cluster, seen = Cluster(), Seen()
    async with serving([web.route("*", "/{path:.*}", cluster.answer)]) as client:
        kubeconfig = tmp_path / "kubeconfig"
        document = {
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": client.url}}],
            "users": [{"name": "test", "user": {"token": "a-token"}}],
        }
        kubeconfig.write_text(json.dumps(document))
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        task = asyncio.create_task(watch_resources(seen))
        try:
            yield cluster, seen, task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_what_kopf_sees_is_passed_on_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with watching(monkeypatch, tmp_path) as (cluster, seen, _task):
        assert await seen.told.get() == ("5", ORDERS)
        cluster.says.put_nowait({"type": "MODIFIED", "object": policy(6)})
        assert await seen.told.get() == ("6", ORDERS)
        cluster.says.put_nowait({"type": "DELETED", "object": policy(7)})
        assert await seen.told.get() == ("gone", ORDERS)
        assert cluster.written == []


async def test_kopf_that_gives_up_is_an_error_with_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with watching(monkeypatch, tmp_path) as (cluster, seen, task):
        await seen.told.get()
        cluster.says.put_nowait(
            {"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is away", "reason": "x"}}
        )
        with pytest.raises(WatchEnded, match="kopf gave up on our custom resources"):
            await task


def test_kopf_posts_no_events_scans_nothing_and_waits_for_nothing_for_ever() -> None:
    settings = kopf_settings()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.peering.standalone
    assert settings.networking.request_timeout
    assert settings.watching.server_timeout


async def test_the_trust_domain_is_made_once() -> None:
    api = MemoryApi()
    made = await ensure_trust_domain(api, "cluster.local")
    assert made["spec"] == {"issuer": {"selfSigned": {}}}
    assert await ensure_trust_domain(api, "cluster.local") == made
    assert api.count("create") == 1
    assert list(api.objects) == [TRUST_DOMAINS.item("", "cluster.local")]


async def test_the_trust_domain_that_is_made_names_the_issuer_of_the_chart() -> None:
    made = await ensure_trust_domain(MemoryApi(), "cluster.local", "corporate-ca")
    assert made["spec"] == {"issuer": {"secretRef": {"name": "corporate-ca"}}}
