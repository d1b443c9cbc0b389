"""What `helm test` finds, with a real directory over TLS and an API server that says what the test wants."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from handfast_operator.cluster.client import ApiClient
from handfast_operator.release_test import TrialFailed, authority_signs, directory_answers, webhook_is_asked
from handfast_operator.settings import Settings
from support.api_server import serving, status
from support.directory import HOST, Lab
from support.pki import TestAuthority
from support.ports import free_port
from support.stores import TRUST_DOMAIN, Cluster

Json = dict[str, Any]
SETTINGS = Settings(trust_domain=TRUST_DOMAIN, test_namespace="sandbox")
REFUSAL = 'admission webhook "pod.inject.handfast.dev" denied the request: Handfast: the pod sandbox/x is refused: no'
NO_ROUTE = 'Internal error occurred: failed calling webhook "pod.inject.handfast.dev": context deadline exceeded'


def trust_domain(answer: web.Response) -> web.RouteDef:
    return web.get(f"/apis/handfast.dev/v1alpha1/trustdomains/{TRUST_DOMAIN}", _always(answer))


def bundle(pem: bytes) -> web.RouteDef:
    answer = web.json_response({"data": {f"{TRUST_DOMAIN}.pem": pem.decode()}})
    return web.get("/api/v1/namespaces/handfast-system/configmaps/handfast-bundle", _always(answer))


def _always(answer: web.Response) -> Any:
    async def handler(_request: web.Request) -> web.Response:
        return answer

    return handler


class Pods:
    """Who is asked for a pod."""

    def __init__(self, *init_containers: str, refusal: web.Response | None = None) -> None:
        self.asked: list[tuple[dict[str, str], Json]] = []
        self._init_containers, self._refusal = init_containers, refusal

    def route(self) -> web.RouteDef:
        return web.post("/api/v1/namespaces/sandbox/pods", self._create)

    async def _create(self, request: web.Request) -> web.Response:
        pod = await request.json()
        self.asked.append((dict(request.query), pod))
        if self._refusal is not None:
            return self._refusal
        spec = pod["spec"] | {"initContainers": [{"name": name} for name in self._init_containers]}
        return web.json_response(pod | {"spec": spec}, status=201)


def conditions(ready: str, message: str) -> web.Response:
    return web.json_response({"status": {"conditions": [{"type": "Ready", "status": ready, "message": message}]}})


async def test_an_authority_that_signs_passes() -> None:
    async with serving([trust_domain(conditions("True", "handfast-authority-1 signs until ..."))]) as client:
        assert "handfast-authority-1" in await authority_signs(client, SETTINGS)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: conditions("False", "nobody signs"), "not Ready: nobody signs"),
        (lambda: web.json_response({}), "no condition Ready yet"),
        (lambda: status(404, "NotFound", "trustdomains not found"), "kubectl logs"),
    ],
)
async def test_an_authority_that_does_not_sign_is_told_in_a_sentence(answer: Any, said: str) -> None:
    async with serving([trust_domain(answer())]) as client:
        with pytest.raises(TrialFailed, match=said):
            await authority_signs(client, SETTINGS)


async def test_a_pod_that_opts_in_is_asked_for_in_a_dry_run_and_gets_its_sidecar() -> None:
    pods = Pods("handfast-init", "handfast-proxy")
    async with serving([pods.route()]) as client:
        assert "gets its sidecar in sandbox" in await webhook_is_asked(client, SETTINGS)
    [(query, pod)] = pods.asked
    assert query["dryRun"] == "All"
    assert pod["metadata"]["labels"] == {"handfast.dev/inject": "enabled"}


async def test_a_refusal_of_handfasts_own_shows_that_the_webhook_was_asked() -> None:
    async with serving([Pods(refusal=status(403, "Forbidden", REFUSAL)).route()]) as client:
        assert "the webhook was asked" in await webhook_is_asked(client, SETTINGS)


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        (Pods, "did not ask the webhook"),
        (lambda: Pods(refusal=status(500, "InternalError", NO_ROUTE)), "port 14443 of the webhook's pods"),
        (lambda: Pods(refusal=status(403, "Forbidden", "pods is forbidden: exceeded quota")), "exceeded quota"),
    ],
)
async def test_a_webhook_that_was_not_asked_is_told_with_what_to_look_at(pods: Any, said: str) -> None:
    async with serving([pods().route()]) as client:
        with pytest.raises(TrialFailed, match=said):
            await webhook_is_asked(client, SETTINGS)


async def test_the_directory_is_known_by_its_identity(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Cluster())
    async with lab.server(), serving([bundle(lab.authority.bundle_pem)]) as client:
        said = await directory_answers(client, SETTINGS, HOST, lab.port)
    assert said.startswith(f"spiffe://{TRUST_DOMAIN}/ns/handfast-system/sa/handfast-directory at")


async def failure(client: ApiClient, port: int) -> str:
    with pytest.raises(TrialFailed) as failed:
        await directory_answers(client, SETTINGS, HOST, port)
    return str(failed.value)


async def test_a_directory_that_another_authority_vouches_for_fails(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Cluster())
    async with lab.server(), serving([bundle(TestAuthority(TRUST_DOMAIN).bundle_pem)]) as client:
        assert "no certificate to trust" in await failure(client, lab.port)


async def test_somebody_else_in_the_directorys_place_fails(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Cluster())
    other = lab.authority.issue(f"spiffe://{TRUST_DOMAIN}/ns/shop/sa/cart")
    async with lab.server(other), serving([bundle(lab.authority.bundle_pem)]) as client:
        assert f"is spiffe://{TRUST_DOMAIN}/ns/shop/sa/cart, expected" in await failure(client, lab.port)


async def test_nobody_in_the_directorys_place_and_no_bundle_are_told() -> None:
    async with serving([bundle(TestAuthority(TRUST_DOMAIN).bundle_pem)]) as client:
        assert "nobody answers for the directory" in await failure(client, free_port())
    async with serving([bundle(b"")]) as client:
        assert "handfast-system/handfast-bundle cannot be used" in await failure(client, free_port())
