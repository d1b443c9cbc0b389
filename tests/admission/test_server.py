"""The webhook over real TLS."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handfast_operator.admission.bounds import FIRST_REQUEST_S, MAX_BYTES, Bounds, Busy
from handfast_operator.admission.certificate import ServingCertificate
from handfast_operator.admission.containers import InjectionOptions
from handfast_operator.admission.review import BadReview, parse_review
from handfast_operator.admission.server import Serving, serving
from handfast_operator.admission.webhook import MAX_BODY, Webhook
from handfast_operator.policy.final import INBOUND, OUTBOUND, Demand
from handfast_sidecar.observe.metrics import Registry
from support.json_patch import applied
from support.pki import Issued, TestAuthority, project

ENABLED = {"handfast.dev/inject": "enabled"}
OPTIONS = InjectionOptions("handfast-system", "sidecar:1")
POD: dict[str, Any] = {"metadata": {"name": "orders"}, "spec": {"containers": [{"name": "app"}]}}


STRICT = Demand("ClusterMTLSPolicy floor", "mode: Strict", (*INBOUND, *OUTBOUND))


def around(name: str, value: str) -> dict[str, Any]:
    return {**POD, "metadata": {"name": "orders", "annotations": {f"handfast.dev/{name}": value}}}


def review(pod: object = POD, **request: Any) -> dict[str, Any]:
    asked = {"uid": "42", "namespace": "shop", "object": pod, **request}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}


class Labels:
    """What is remembered, and what the API server says when it is asked."""

    def __init__(self, remembered: Mapping[str, str] | None, asked: Mapping[str, str] | Exception) -> None:
        self._remembered, self._asked = remembered, asked

    def remembered(self, _name: str) -> Mapping[str, str] | None:
        return self._remembered

    async def asked(self, _name: str) -> Mapping[str, str]:
        if isinstance(self._asked, Exception):
            raise self._asked
        return self._asked


class Finals:
    """What final policies demand."""

    def __init__(self, *demands: Demand | Exception) -> None:
        self._demands = demands
        self.asked_for: list[str] = []

    async def asked(self, namespace: str, _labels: Mapping[str, str]) -> list[Demand]:
        self.asked_for.append(namespace)
        for each in self._demands:
            if isinstance(each, Exception):
                raise each
        return [each for each in self._demands if isinstance(each, Demand)]


class Client:
    """An API server that trusts the webhook's authority."""

    def __init__(
        self, session: aiohttp.ClientSession, tls: ssl.SSLContext, served: Serving, webhook: Webhook, registry: Registry
    ) -> None:
        self.session, self.tls, self.served, self.webhook, self.registry = session, tls, served, webhook, registry
        self.url = f"https://127.0.0.1:{served.port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.served.port, ssl=self.tls)

    async def ask(self, body: object, path: str = "inject") -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(f"{self.url}/{path}", data=data) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.status == 200 else text


def write(directory: Path, issued: Issued) -> None:
    project(directory, {"tls.crt": issued.chain_pem, "tls.key": issued.key_pem})


@asynccontextmanager
async def client(
    directory: Path,
    authority: TestAuthority | None = None,
    labels: Labels | None = None,
    finals: Finals | None = None,
    *,
    reuse: bool = True,
) -> AsyncIterator[tuple[Client, ServingCertificate]]:
    authority, registry = authority or TestAuthority(), Registry()
    write(directory, authority.issue())
    certificate = ServingCertificate(directory, registry)
    webhook = Webhook(OPTIONS, labels or Labels(ENABLED, ENABLED), registry, finals or Finals())
    trusting = ssl.create_default_context(cadata=authority.bundle_pem.decode())
    trusting.check_hostname = False
    connector = aiohttp.TCPConnector(ssl=trusting, force_close=not reuse)
    async with (
        serving(webhook, certificate, "127.0.0.1", 0) as served,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        yield Client(session, trusting, served, webhook, registry), certificate


async def test_a_pod_is_injected(tmp_path: Path) -> None:
    async with client(tmp_path) as (api, _):
        status, answer = await api.ask(review())
    patch = json.loads(base64.b64decode(answer["response"]["patch"]))
    assert (status, answer["response"]["uid"], answer["response"]["allowed"]) == (200, "42", True)
    assert [each["name"] for each in applied(patch, POD)["spec"]["initContainers"]] == [
        "handfast-init",
        "handfast-proxy",
    ]


async def test_certificates_change_under_reviews_without_an_error(tmp_path: Path) -> None:
    authority, allowed, done = TestAuthority(), 0, asyncio.Event()
    progress = asyncio.Condition()

    async def keep_asking(api: Client) -> None:
        nonlocal allowed
        while not done.is_set():
            _, answer = await api.ask(review())
            assert answer["response"]["allowed"]
            async with progress:
                allowed += 1
                progress.notify_all()

    async with (
        client(tmp_path, authority, reuse=False) as (api, certificate),
        asyncio.TaskGroup() as group,
    ):
        for _ in range(4):
            group.create_task(keep_asking(api))
        for change in range(1, 6):
            write(tmp_path, authority.issue())
            assert certificate.look(), f"change {change} is seen"
            async with progress:
                target = allowed + 8
                await progress.wait_for(lambda wanted=target: allowed >= wanted)  # type: ignore[misc]
        done.set()


async def test_a_broken_certificate_leaves_the_working_one(tmp_path: Path) -> None:
    authority = TestAuthority()
    async with client(tmp_path, authority) as (api, certificate):
        project(tmp_path, {"tls.crt": authority.issue().chain_pem, "tls.key": authority.issue().key_pem})
        assert not certificate.look()
        assert "handfast_webhook_certificate_failures_total 1" in api.registry.render()
        assert "handfast_webhook_certificate_refused 1" in api.registry.render()
        assert (await api.ask(review()))[0] == 200
        assert 'handfast_admission_review_seconds_count{path="inject"} 1' in api.registry.render()
        write(tmp_path, authority.issue())
        assert certificate.look()
        assert "handfast_webhook_certificate_refused 0" in api.registry.render()


async def test_an_error_of_ours_is_no_permission(tmp_path: Path) -> None:
    async with client(tmp_path, labels=Labels(None, OSError("the API server is away"))) as (api, _):
        assert (await api.ask(review()))[0] == 500
        assert 'path="inject",outcome="error"} 1' in api.registry.render()


async def test_a_namespace_that_has_just_opted_in_is_not_left_in_plaintext_by_an_old_memory(tmp_path: Path) -> None:
    async with client(tmp_path, labels=Labels({}, ENABLED)) as (api, _):
        _, answer = await api.ask(review())
    assert "patch" in answer["response"]


async def test_a_namespace_that_has_just_been_relabelled_is_not_refused_by_an_old_memory(tmp_path: Path) -> None:
    old = {**ENABLED, "pod-security.kubernetes.io/enforce": "restricted"}
    async with client(tmp_path, labels=Labels(old, ENABLED)) as (api, _):
        _, answer = await api.ask(review())
    assert answer["response"]["allowed"]


async def test_who_asked_for_a_sidecar_and_gets_none_is_warned(tmp_path: Path) -> None:
    async with client(tmp_path) as (api, _):
        _, answer = await api.ask(review({**POD, "spec": {"hostNetwork": True}}))
        _, silent = await api.ask(review({**POD, "metadata": {"labels": {"handfast.dev/inject": "disabled"}}}))
    assert answer["response"]["allowed"]
    assert "hostNetwork" in answer["response"]["warnings"][0]
    assert "warnings" not in silent["response"]


async def test_a_refusal_names_the_pod_the_container_and_the_remedy(tmp_path: Path) -> None:
    pod = {
        "metadata": {"generateName": "orders-7d9f-"},
        "spec": {"containers": [{"name": "app", "securityContext": {"runAsUser": 7443}}]},
    }
    async with client(tmp_path) as (api, _):
        _, answer = await api.ask(review(pod))
    assert answer["response"]["status"]["message"] == (
        "Handfast: the pod shop/orders-7d9f-* is refused: the container 'app' runs as user 7443, "
        "which is the sidecar's: its traffic would go around the sidecar; set runAsUser to another number"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("skip-inbound-ports", "8080"),
        ("skip-outbound-ports", "5432"),
        ("skip-outbound-cidrs", "192.0.2.0/24"),
        ("interception", "none"),
    ],
)
async def test_a_pod_that_would_go_around_a_final_policy_is_refused_with_its_name_and_the_way_out(
    tmp_path: Path, name: str, value: str
) -> None:
    async with client(tmp_path, finals=Finals(STRICT)) as (api, _):
        _, answer = await api.ask(review(around(name, value)))
    assert answer["response"]["status"]["message"] == (
        f"Handfast: the pod shop/orders is refused: its annotation handfast.dev/{name} is {value!r}, by which traffic "
        "goes around its sidecar, but ClusterMTLSPolicy floor, which may not be overridden, demands mode: Strict of "
        "every pod of this namespace: remove the annotation, or ask those who run the cluster to leave the namespace "
        "out of that policy (spec.namespaceSelector)"
    )


async def test_what_a_final_policy_does_not_forbid_passes(tmp_path: Path) -> None:
    inbound_only = Demand("ClusterMTLSPolicy floor", "mode: Strict on port 5432", INBOUND)
    async with client(tmp_path, finals=Finals(inbound_only)) as (api, _):
        for asked in (around("skip-outbound-ports", "25"), around("interception", "redirect"), POD):
            assert (await api.ask(review(asked)))[1]["response"]["allowed"]
        assert not (await api.ask(review(around("skip-inbound-ports", "25"))))[1]["response"]["allowed"]


async def test_only_a_pod_that_would_go_around_costs_a_question_and_without_an_answer_it_is_refused(
    tmp_path: Path,
) -> None:
    finals = Finals(OSError("the API server is away"))
    async with client(tmp_path, finals=finals) as (api, _):
        assert (await api.ask(review()))[1]["response"]["allowed"]
        assert finals.asked_for == []
        assert (await api.ask(review(around("skip-inbound-ports", "8080"))))[0] == 500
        assert finals.asked_for == ["shop"]


async def test_an_ephemeral_container_of_our_user_is_refused_with_the_pods_name(tmp_path: Path) -> None:
    debug = {"name": "debug", "securityContext": {"runAsUser": 7443}}
    async with client(tmp_path) as (api, _):
        _, answer = await api.ask(review({**POD, "spec": {"ephemeralContainers": [debug]}}), "validate")
        _, fine = await api.ask(review(), "validate")
    assert "the pod shop/orders cannot be changed" in answer["response"]["status"]["message"]
    assert fine["response"]["allowed"]


async def test_a_draining_replica_answers_and_sends_its_clients_elsewhere(tmp_path: Path) -> None:
    async with client(tmp_path) as (api, _):
        api.webhook.draining = True
        async with api.session.post(f"{api.url}/inject", json=review()) as answer:
            assert (answer.status, answer.headers["Connection"]) == (200, "close")


async def test_a_review_in_flight_when_a_replica_ends_is_answered(tmp_path: Path) -> None:
    asked, answer_now = asyncio.Event(), asyncio.Event()

    class Slow(Labels):
        async def asked(self, _name: str) -> Mapping[str, str]:
            asked.set()
            await answer_now.wait()
            return ENABLED

    authority = TestAuthority()
    write(tmp_path, authority.issue())
    certificate, webhook = (
        ServingCertificate(tmp_path, Registry()),
        Webhook(OPTIONS, Slow(None, {}), Registry(), Finals()),
    )
    trusting = ssl.create_default_context(cadata=authority.bundle_pem.decode())
    trusting.check_hostname = False
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
        async with serving(webhook, certificate, "127.0.0.1", 0) as served:
            api = Client(session, trusting, served, webhook, Registry())
            in_flight = asyncio.create_task(api.ask(review()))
            await asked.wait()
            asyncio.get_running_loop().call_soon(answer_now.set)
        assert (await in_flight)[0] == 200


@pytest.mark.parametrize("body", [b"rubbish", b"", b"[]"])
async def test_a_body_that_is_no_review_is_a_bad_request(tmp_path: Path, body: bytes) -> None:
    async with client(tmp_path) as (api, _):
        assert (await api.ask(body, "validate"))[0] == 400


async def test_a_body_of_more_than_eight_mebibytes_is_not_read(tmp_path: Path) -> None:
    async with client(tmp_path) as (api, _):
        reader, writer = await api.connect()
        writer.write(b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1))
        assert b"413" in await reader.readline()
        writer.transport.abort()


def test_a_source_has_a_bounded_number_of_bytes_in_flight_and_others_theirs() -> None:
    bounds = Bounds()
    with bounds.body("a", MAX_BYTES):
        with pytest.raises(Busy, match="a has 33554432 bytes"), bounds.body("a", 1):
            pass
        with bounds.body("b", MAX_BYTES):
            pass
    with bounds.body("a", MAX_BYTES):
        pass


async def test_a_connection_that_asks_nothing_is_closed_and_one_that_asks_stays(tmp_path: Path) -> None:
    now = 100.0
    async with client(tmp_path) as (api, _):
        api.webhook.bounds = Bounds(lambda: now)
        reader, writer = await api.connect()
        await api.ask(review())
        handlers = api.served.handlers
        api.webhook.bounds.sweep(handlers)
        now += FIRST_REQUEST_S
        api.webhook.bounds.sweep(handlers)
        assert await reader.read() == b""
        assert sum(each.transport is not None for each in handlers.connections) == 1
        writer.close()


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "labels", "spec", "containers", "name", "ports", "httpGet", "port", "lifecycle"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)
_CONTAINERS = st.lists(
    st.dictionaries(
        st.sampled_from(["livenessProbe", "env", "ports", "lifecycle", "securityContext", "volumeMounts"]), _JSON
    ).map(lambda each: {"name": "handfast-proxy", **each}),
    max_size=2,
)
_PODS = st.fixed_dictionaries({"spec": st.fixed_dictionaries({}, optional={"initContainers": _CONTAINERS})}) | _JSON


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(_PODS)
async def test_whatever_the_object_is_the_answer_is_well_formed_or_a_bad_request(pod: object) -> None:
    webhook = Webhook(OPTIONS, Labels(ENABLED, ENABLED), Registry(), Finals(STRICT))
    try:
        asked = parse_review(json.dumps(review(pod)).encode())
    except BadReview:
        return
    for decide in (webhook._inject, webhook._validate):
        outcome, answer = await decide(asked)
        assert outcome in {"injected", "skipped", "refused", "allowed"}
        assert json.loads(json.dumps(answer))["response"]["uid"] == "42"
