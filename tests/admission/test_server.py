"""The webhook over real TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from handfast_operator.admission.certificate import ServingCertificate
from handfast_operator.admission.containers import InjectionOptions
from handfast_operator.admission.server import Webhook
from handfast_sidecar.observe.metrics import Registry
from support.pki import Issued, TestAuthority, project

REVIEW = {
    "apiVersion": "admission.k8s.io/v1",
    "request": {
        "uid": "42",
        "namespace": "shop",
        "object": {"metadata": {"name": "orders"}, "spec": {"containers": [{"name": "app"}]}},
    },
}


async def labels(_namespace: str) -> dict[str, str]:
    return {"handfast.dev/inject": "enabled"}


def write(directory: Path, issued: Issued) -> None:
    project(directory, {"tls.crt": issued.chain_pem, "tls.key": issued.key_pem})


@asynccontextmanager
async def serving(certificate: ServingCertificate, labels_of: object = labels) -> AsyncIterator[str]:
    webhook = Webhook(InjectionOptions("handfast-system", "sidecar:1"), labels_of, Registry())  # type: ignore[arg-type]
    runner = web.AppRunner(webhook.application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate.context)
    await site.start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def trusting(authority: TestAuthority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.bundle_pem.decode())
    context.check_hostname = False
    return context


async def test_certificates_change_under_reviews_without_an_error(tmp_path: Path) -> None:
    authority, registry = TestAuthority(), Registry()
    write(tmp_path, authority.issue())
    certificate = ServingCertificate(tmp_path, registry)
    allowed, done = 0, asyncio.Event()

    async def ask(url: str) -> None:
        nonlocal allowed
        while not done.is_set():
            connector = aiohttp.TCPConnector(ssl=trusting(authority), force_close=True)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.post(f"{url}/inject", json=REVIEW) as answer,
            ):
                assert (await answer.json())["response"]["allowed"]
                allowed += 1

    async with serving(certificate) as url, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(ask(url))
        for change in range(5):
            before = allowed
            write(tmp_path, authority.issue())
            assert certificate.look(), f"change {change} is seen"
            while allowed < before + 8:  # noqa: ASYNC110 - the askers count, and have nothing else to tell
                await asyncio.sleep(0)
        done.set()


async def test_a_broken_certificate_leaves_the_working_one(tmp_path: Path) -> None:
    authority, registry = TestAuthority(), Registry()
    write(tmp_path, authority.issue())
    certificate = ServingCertificate(tmp_path, registry)
    project(tmp_path, {"tls.crt": authority.issue().chain_pem, "tls.key": authority.issue().key_pem})
    assert not certificate.look()
    assert "handfast_webhook_certificate_failures_total 1" in registry.render()
    async with (
        serving(certificate) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}/inject", json=REVIEW, ssl=trusting(authority)) as answer,
    ):
        assert answer.status == 200


async def test_an_error_of_ours_is_no_permission(tmp_path: Path) -> None:
    async def broken(_namespace: str) -> dict[str, str]:
        raise OSError("the API server is away")

    authority = TestAuthority()
    write(tmp_path, authority.issue())
    async with (
        serving(ServingCertificate(tmp_path, Registry()), broken) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}/inject", json=REVIEW, ssl=trusting(authority)) as answer,
    ):
        assert answer.status == 500


async def test_a_body_that_is_no_review_is_a_bad_request(tmp_path: Path) -> None:
    authority = TestAuthority()
    write(tmp_path, authority.issue())
    async with (
        serving(ServingCertificate(tmp_path, Registry())) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}/validate", data=b"rubbish", ssl=trusting(authority)) as answer,
    ):
        assert answer.status == 400
