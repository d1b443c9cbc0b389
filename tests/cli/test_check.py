"""`handfast check` and `handfast status`: what is asked of the API server, and what a missing right means."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from checks.stage import SYSTEM, Installation
from cli.stage import Server, run
from handfast_operator.checks.facts import DEPLOYMENTS
from handfast_operator.cli import check, status
from handfast_operator.cli.gathering import _EVERYWHERE, _HERE
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import CLUSTER_ROLES, CONFIG_MAPS, LEASES, NAMESPACES, TRUST_DOMAINS
from support.api_server import serving
from support.api_server import status as problem

Json = dict[str, Any]
Output = pytest.CaptureFixture[str]
APIS = ("apps/v1", "coordination.k8s.io/v1", "discovery.k8s.io/v1", "rbac.authorization.k8s.io/v1")


class Cluster(Server):
    """With an installation in it; what is created is answered and not kept."""

    def __init__(self) -> None:
        super().__init__()
        self.created: list[tuple[str, Json]] = []
        self.allowed = True
        self.refusal = ""
        served = [{"versions": [{"groupVersion": each}]} for each in (*APIS, "admissionregistration.k8s.io/v1")]
        self.objects["/version"] = {"gitVersion": "v1.33.1"}
        self.objects["/apis"] = {"groups": served}
        kinds = [{"kind": "ValidatingAdmissionPolicy"}]
        self.objects["/apis/admissionregistration.k8s.io/v1"] = {"resources": kinds}

    async def make(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text())
        self.created.append((request.path_qs, body))
        if request.path.endswith("/selfsubjectaccessreviews"):
            return web.json_response({"status": {"allowed": self.allowed}}, status=201)
        if self.refusal:
            return problem(500, "InternalError", self.refusal)
        body["spec"]["initContainers"] = [{"name": "handfast-proxy"}]
        return web.json_response(body, status=201)


@asynccontextmanager
async def cluster(*, installed: bool = True) -> AsyncIterator[tuple[Cluster, ApiClient]]:
    server, installation = Cluster(), Installation()
    installation.namespace("shop")
    for kind in _EVERYWHERE:
        server.put(kind.path, *(installation.objects.get(kind, ()) if installed or kind is NAMESPACES else ()))
    for kind in _HERE:
        server.put(kind.within(SYSTEM), *(installation.objects.get(kind, ()) if installed else ()))
    for kind in (LEASES, CONFIG_MAPS):
        server.put(kind.within(SYSTEM), *installation.objects[kind])
    async with serving([web.get("/{path:.*}", server.answer), web.post("/{path:.*}", server.make)]) as client:
        yield server, client


async def test_all_is_looked_at_and_nothing_is_kept(capsys: Output) -> None:
    async with cluster() as (server, client):
        _, found = await run(check, client, capsys)
    words = {each["check"] for each in found["findings"]}
    assert {"kubernetes-version", "controller", "permissions", "ca-bundle", "admission", "policies"} <= words
    assert {each["check"] for each in found["unseen"]} == {"silent-sidecars", "leaf-expiry"}, "nobody forwards ports"
    assert found["kubernetes"] == "v1.33.1"
    assert all(each["link"] == f"docs/checks.md#{each['check']}" for each in found["findings"])
    [(path, _)] = server.created
    assert path.startswith("/api/v1/namespaces/shop/pods?")
    assert "dryRun=All" in path


async def test_what_may_not_be_read_is_said_and_is_no_yes(capsys: Output) -> None:
    async with cluster() as (server, client):
        server.forbidden |= {CLUSTER_ROLES.path, TRUST_DOMAINS.path, DEPLOYMENTS.within(SYSTEM)}
        _, found = await run(check, client, capsys)
        unseen = {each["check"]: each["message"] for each in found["unseen"]}
        assert {"permissions", "trust-domain", "installed", "controller", "root-expiry"} <= set(unseen)
        assert "jane may not list clusterroles.rbac.authorization.k8s.io in the whole cluster" in unseen["permissions"]
        assert not unseen.keys() & {each["check"] for each in found["findings"]}
        code, found = await run(status, client, capsys)
        assert (code != 0, found["healthy"]) == (True, False)


@pytest.mark.parametrize(
    ("refusal", "seen"),
    [
        ('failed calling webhook "pod.inject.handfast.dev": no endpoints available', "error"),
        ('admission webhook "pod.inject.handfast.dev" denied the request: its namespace', "ok"),
        ("exceeded quota: pods", "unseen"),
    ],
)
async def test_what_is_said_to_the_pod_that_is_tried(capsys: Output, refusal: str, seen: str) -> None:
    async with cluster() as (server, client):
        server.refusal = refusal
        _, found = await run(check, client, capsys)
    levels = [each["level"] for each in found["findings"] if each["check"] == "admission"]
    assert (levels or ["unseen"]) == [seen]


async def test_before_an_installation_rights_are_asked_for(capsys: Output) -> None:
    async with cluster(installed=False) as (server, client):
        assert (await run(check, client, capsys, "--pre"))[0] == 0
        server.allowed = False
        code, found = await run(check, client, capsys, "--pre", "--problems")
        assert code == 1
        assert [each["check"] for each in found["findings"]] == ["install-rights"]
        assert "create clusterroles.rbac.authorization.k8s.io" in found["findings"][0]["message"]
        code, found = await run(check, client, capsys, "--problems")
        assert (code, [each["check"] for each in found["findings"]]) == (1, ["installed"])
