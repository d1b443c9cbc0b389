"""Webhooks, and what the server itself does to pods."""

import base64
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509

from handfast_lab.api.admission import Unanswered
from handfast_lab.api.webhook_calls import WebhookCaller
from lab.api.stage import CORE, Client, Json, Webhooks, pod, serving
from support.pki import TestAuthority, write_files

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


async def configure(api: Client, *names: str, kind: str = "Mutating", **more: Any) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    client = {"service": {"name": "hook", "namespace": "default", "path": "/review"}}
    webhooks = [{"name": name, "rules": [rule], "clientConfig": client, "sideEffects": "None"} | more for name in names]
    body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": "hooks"}, "webhooks": webhooks}  # fmt: skip
    assert (await api.create(CONFIGURATIONS.format(kind.lower()), body)).status == 201


def adding(name: str) -> Any:
    """A webhook that adds a container once."""

    def answer(request: Json) -> Json:
        if any(each["name"] == name for each in request["object"]["spec"]["containers"]):
            return {"allowed": True}
        operation = {"op": "add", "path": "/spec/containers/-", "value": {"name": name, "image": f"{name}:1"}}
        patch = base64.b64encode(json.dumps([operation]).encode()).decode()
        return {"allowed": True, "patchType": "JSONPatch", "patch": patch}

    return answer


def allowed(_: Json) -> Json:
    return {"allowed": True}


async def test_a_mutating_webhook_changes_what_is_stored() -> None:
    async with serving(hooks := Webhooks(add=adding("extra"))) as api:
        await configure(api, "add")
        containers = (await api.create(f"{CORE}/pods", pod("one"))).body["spec"]["containers"]
    assert [(each["name"], each["imagePullPolicy"]) for each in containers] == [
        ("app", "IfNotPresent"), ("extra", "IfNotPresent")]  # fmt: skip
    assert [each["mountPath"] for each in containers[1]["volumeMounts"]] == [TOKEN]
    [(_, request)] = hooks.reviews
    assert (request["operation"], request["namespace"], request["userInfo"]["username"]) == (
        "CREATE", "default", "kubernetes-admin")  # fmt: skip
    assert "uid" not in request["object"]["metadata"]


async def test_a_webhook_is_asked_again_when_a_later_one_changed_the_object() -> None:
    hooks = Webhooks(first=allowed, second=adding("extra"))
    async with serving(hooks) as api:
        await configure(api, "first", "second", reinvocationPolicy="IfNeeded")
        await api.create(f"{CORE}/pods", pod("one"))
    assert [name for name, _ in hooks.reviews] == ["first", "second", "first"]


async def test_a_refusal_is_in_the_servers_words_and_code() -> None:
    refusal = {"allowed": False, "status": {"code": 403, "reason": "Forbidden", "message": "not today"}}
    async with serving(Webhooks(no=refusal)) as api:
        await configure(api, "no", kind="Validating")
        answer = await api.create(f"{CORE}/pods", pod("one"))
        assert (answer.status, answer.message) == (403, 'admission webhook "no" denied the request: not today')
        assert (await api.get(f"{CORE}/pods/one")).status == 404


async def test_warnings_reach_the_client() -> None:
    async with serving(Webhooks(warn={"allowed": True, "warnings": ["look out"]})) as api:
        await configure(api, "warn")
        assert (await api.create(f"{CORE}/pods", pod("one"))).warnings == ['299 - "look out"']


@pytest.mark.parametrize(
    ("selector", "labels", "asked"),
    [
        ({"objectSelector": {"matchLabels": {"a": "b"}}}, {"a": "b"}, True),
        ({"objectSelector": {"matchLabels": {"a": "b"}}}, {}, False),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}, {}, True),
        ({"namespaceSelector": {"matchExpressions": [{"key": "none", "operator": "Exists"}]}}, {}, False),
    ],
)
async def test_selectors_keep_others_away(selector: Json, labels: Json, asked: bool) -> None:
    async with serving(hooks := Webhooks(hook=allowed)) as api:
        await configure(api, "hook", **selector)
        await api.create(f"{CORE}/pods", pod("one") | {"metadata": {"name": "one", "labels": labels}})
    assert bool(hooks.reviews) == asked


async def test_a_webhook_of_a_subresource_is_not_asked_about_the_whole() -> None:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["UPDATE"],
        "resources": ["pods/ephemeralcontainers"],
    }
    async with serving(hooks := Webhooks(hook=allowed)) as api:
        await configure(api, "hook", kind="Validating", rules=[rule])
        await api.create(f"{CORE}/pods", pod("one"))
        await api.patch(f"{CORE}/pods/one", {"metadata": {"labels": {"a": "b"}}})
        assert hooks.reviews == []
        debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "sh"}]}}
        await api.patch(f"{CORE}/pods/one/ephemeralcontainers", debug)
    assert [request["subResource"] for _, request in hooks.reviews] == ["ephemeralcontainers"]


async def test_a_dry_run_spares_webhooks_with_side_effects() -> None:
    async with serving(Webhooks(hook=allowed)) as api:
        await configure(api, "hook", sideEffects="Some")
        answer = await api.create(f"{CORE}/pods", pod("one"), dryRun="All")
    assert (answer.status, answer.message) == (400, 'admission webhook "hook" does not support dry run')


class Down:
    async def ask(self, webhook: Json, review: Json) -> Json:
        raise Unanswered('failed to call webhook: Post "https://hook.default.svc:443/review?timeout=10s": EOF')


@pytest.mark.parametrize(("policy", "status"), [("Fail", 500), ("Ignore", 201)])
async def test_a_webhook_that_is_down_blocks_by_its_policy(policy: str, status: int) -> None:
    async with serving(Down()) as api:
        await configure(api, "hook", failurePolicy=policy)
        answer = await api.create(f"{CORE}/pods", pod("one"))
    assert answer.status == status
    if status == 500:
        assert answer.message == (
            'Internal error occurred: failed calling webhook "hook": failed to call webhook:'
            ' Post "https://hook.default.svc:443/review?timeout=10s": EOF'
        )


async def test_a_pod_needs_its_service_account(api: Client) -> None:
    answer = await api.create(f"{CORE}/pods", pod("one", serviceAccountName="none"))
    assert (answer.status, answer.message) == (
        403,
        'pods "one" is forbidden: error looking up service account default/none: serviceaccount "none" not found',
    )


async def test_a_container_that_mounts_something_at_the_tokens_path_gets_no_token(api: Client) -> None:
    containers = [{"name": "app", "image": "app:1", "volumeMounts": [{"name": "empty", "mountPath": TOKEN}]}]
    made = (await api.create(f"{CORE}/pods", pod("one", containers=containers, volumes=[{"name": "empty"}]))).body
    assert [each["name"] for each in made["spec"]["volumes"]] == ["empty"]


class Hook:
    """A webhook with a certificate of the Service's name."""

    def __init__(self, place: Path, authority: TestAuthority) -> None:
        issued = authority.issue(names=[x509.DNSName("hook.default.svc")], uris=[])
        chain, key, _ = write_files(place, issued)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(chain, key)

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/broken":
            return web.Response(status=500, text="the review failed\n")
        asked = (await request.json())["request"]
        return web.json_response({"response": {"uid": asked["uid"], "allowed": True, "warnings": [request.host]}})


@pytest.fixture
def authority() -> TestAuthority:
    return TestAuthority()


@pytest.fixture
async def hook_port(tmp_path: Path, authority: TestAuthority) -> Any:
    hook = Hook(tmp_path, authority)
    app = web.Application()
    app.add_routes([web.post("/{path:.*}", hook.answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=hook.tls).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def config(path: str, bundle: bytes) -> Json:
    service = {"name": "hook", "namespace": "default", "port": 443, "path": path}
    return {"clientConfig": {"service": service, "caBundle": base64.b64encode(bundle).decode()}, "timeoutSeconds": 5}


async def test_a_webhook_is_reached_by_its_services_name(hook_port: int, authority: TestAuthority) -> None:
    async def resolve(namespace: str, name: str, port: int) -> tuple[str, int]:
        assert (namespace, name, port) == ("default", "hook", 443)
        return "127.0.0.1", hook_port

    caller = WebhookCaller(resolve)
    answer = await caller.ask(config("/review", authority.bundle_pem), {"request": {"uid": "1"}})
    assert answer["response"]["warnings"] == ["hook.default.svc:443"]
    with pytest.raises(Unanswered, match=r'an error on the server \("the review failed"\) has prevented'):
        await caller.ask(config("/broken", authority.bundle_pem), {"request": {"uid": "1"}})
    with pytest.raises(
        Unanswered, match=r'Post "https://hook.default.svc:443/review\?timeout=5s": tls: failed to verify'
    ):
        await caller.ask(config("/review", TestAuthority().bundle_pem), {"request": {"uid": "1"}})


async def test_a_webhook_without_endpoints_is_named() -> None:
    async def resolve(namespace: str, name: str, port: int) -> tuple[str, int]:
        raise OSError(f'no endpoints available for service "{name}"')

    with pytest.raises(Unanswered, match='no endpoints available for service "hook"'):
        await WebhookCaller(resolve).ask(config("/review", b""), {"request": {"uid": "1"}})
