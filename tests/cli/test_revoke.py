"""`handfast revoke`, against the lab's API server over HTTP with our own custom resources."""

import argparse
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from handfast_lab.api.registry import Registry
from handfast_lab.api.server import application
from handfast_operator.cli import revoke
from handfast_operator.cli.errors import NO, UNKNOWN, USAGE, CliError
from handfast_operator.cli.evidence import Collected
from handfast_operator.cli.revoked import Named, ended_by, until_of
from handfast_operator.cluster.access import Access
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import NAMESPACES, TRUST_DOMAINS
from handfast_operator.evidence.view import EdgeView, EvidenceView, Party

Json = dict[str, Any]
CRDS = Path(__file__).parent.parent.parent / "crds"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CART = "spiffe://cluster.local/ns/shop/sa/cart"
WHY = ("--reason", "its node was broken into")


class NoWebhooks:
    async def ask(self, webhook: Json, _review: Json) -> Json:
        raise AssertionError(webhook["name"])


@pytest.fixture
async def client() -> AsyncIterator[ApiClient]:
    """Of an API server with one TrustDomain."""
    registry = Registry(NoWebhooks())
    runner = web.AppRunner(application(registry), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        access = Access(f"http://127.0.0.1:{runner.addresses[0][1]}", None, token=registry.tokens.issue("shop", "jane"))
        async with ApiClient.connect(access) as found:
            await found.create(DEFINITIONS, yaml.safe_load((CRDS / "trustdomains.yaml").read_text()))
            await found.create(NAMESPACES.path, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
            body = {
                "apiVersion": "handfast.dev/v1alpha1",
                "kind": "TrustDomain",
                "metadata": {"name": "cluster.local"},
                "spec": {"issuer": {"selfSigned": {}}},
            }
            await found.create(TRUST_DOMAINS.path, body)
            yield found
    finally:
        await runner.cleanup()


async def run(client: ApiClient, *words: str, output: str = "table") -> int:
    """As the framework runs a verb."""
    parser = argparse.ArgumentParser()
    revoke.arguments(parser)
    args = parser.parse_args(words)
    args.namespace, args.output, args.operator_namespace = "shop", output, "handfast-system"
    return await revoke.run(args, client)


async def entries(client: ApiClient) -> list[Json]:
    found: list[Json] = (await client.get(TRUST_DOMAINS.item("", "cluster.local")))["spec"].get("revoked") or []
    return found


@pytest.mark.parametrize("written", [CART, "serviceaccount/cart", "shop/sa/cart"])
async def test_an_identity_is_revoked_for_good(client: ApiClient, written: str) -> None:
    assert await run(client, written, *WHY) == 0
    assert await entries(client) == [{"identity": CART, "reason": "its node was broken into"}]
    raw = await client.get(TRUST_DOMAINS.item("", "cluster.local"))
    assert "handfast-cli" in [each["manager"] for each in raw["metadata"]["managedFields"]]


async def test_a_serial_number_is_revoked_until_no_certificate_of_today_is_left(client: ApiClient) -> None:
    await run(client, "serial/0A:1B", *WHY)
    [entry] = await entries(client)
    assert entry["serial"] == "a1b"
    left = datetime.fromisoformat(entry["until"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)


async def test_what_is_revoked_again_has_one_entry(client: ApiClient) -> None:
    await run(client, CART, *WHY)
    await run(client, CART, "--reason", "for a day", "--until", "24h")
    [entry] = await entries(client)
    assert entry["reason"] == "for a day"
    assert "until" in entry


async def test_it_is_taken_back_by_the_name_that_the_list_shows(
    client: ApiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await run(client, CART, *WHY)
    await run(client, "serial/1f", *WHY)
    capsys.readouterr()
    await run(client, "--list", output="json")
    listed = json.loads(capsys.readouterr().out)
    assert [each.get("identity") or each["serial"] for each in listed] == [CART, "1f"]
    await run(client, "--list")
    assert "the certificate 1f" in capsys.readouterr().out
    await run(client, "--undo", CART)
    assert [each["serial"] for each in await entries(client)] == ["1f"]
    await run(client, "--undo", "serial/1f")
    assert await entries(client) == []
    with pytest.raises(CliError, match="is not revoked") as refused:
        await run(client, "--undo", CART)
    assert refused.value.code == NO


async def test_of_two_who_revoke_at_once_neither_undoes_the_other(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch, others = client.patch, iter([("serial/1f", *WHY)])

    async def late(*args: Any, **options: Any) -> Json:
        for words in others:
            await run(client, *words)
        return await patch(*args, **options)

    monkeypatch.setattr(client, "patch", late)
    await run(client, CART, *WHY)
    assert [each.get("identity") or each["serial"] for each in await entries(client)] == ["1f", CART]


async def test_entries_that_have_ended_make_room(client: ApiClient) -> None:
    path = TRUST_DOMAINS.item("", "cluster.local")
    over = {"serial": "1e", "reason": "x", "until": "2020-01-01T00:00:00Z"}
    kept = [{"serial": f"{number:x}", "reason": "x"} for number in range(1000, 1255)]
    await client.patch(path, {"spec": {"revoked": [over, *kept]}})
    await run(client, CART, *WHY)
    assert len(await entries(client)) == 256
    with pytest.raises(CliError, match="256 entries") as refused:
        await run(client, "serial/1f", *WHY)
    assert refused.value.code == NO


@pytest.mark.parametrize(
    ("words", "sentence", "code"),
    [
        ((), "whom to revoke", USAGE),
        ((CART,), "--reason is missing", USAGE),
        (("cart", *WHY), "may be much", USAGE),
        (("deployment/cart", *WHY), "no identity of its own", USAGE),
        (("serial/xyz", *WHY), "no serial number", USAGE),
        (("spiffe://", *WHY), "is no trust domain", USAGE),
        ((CART, *WHY, "--until", "soon"), "expected a time", USAGE),
        ((CART, *WHY, "--until", "2020-01-01T00:00:00Z"), "over already", USAGE),
        (("handfast-system/sa/handfast-directory", *WHY), "Handfast's own", USAGE),
        (("--undo", "pod/cart"), "another one", USAGE),
        (("pod/nobody", *WHY), "there is no pod shop/nobody", UNKNOWN),
    ],
)
async def test_what_is_not_understood_changes_nothing(
    client: ApiClient, words: tuple[str, ...], sentence: str, code: int
) -> None:
    with pytest.raises(CliError, match=sentence) as refused:
        await run(client, *words)
    assert refused.value.code == code
    assert await entries(client) == []


async def test_who_may_not_is_told_which_role_is_missing(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forbidden(*_args: Any, **_options: Any) -> Json:
        raise ApiError(403, "Forbidden", 'User "jane" cannot patch')

    monkeypatch.setattr(client, "patch", forbidden)
    with pytest.raises(CliError, match="handfast-trust-admin") as refused:
        await run(client, CART, *WHY)
    assert refused.value.code == NO


def test_a_certificate_that_is_known_is_revoked_until_its_end() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert until_of("", now, Named(serial="1f", not_after="2026-01-02T00:00:00Z")) == "2026-01-02T00:00:00Z"
    assert until_of("1h", now, Named(CART)) == "2026-01-01T01:00:00Z"
    assert until_of("", now, Named(CART)) == ""


def test_what_ends_is_told_as_far_as_it_is_known() -> None:
    cart, orders = Party("shop", "serviceaccount/cart", CART), Party("shop", "deployment/orders")
    edge = EdgeView(cart, orders, 8080, True, connections=5, open=2)
    idle = EdgeView(cart, orders, 9090, True, connections=5)
    told = ended_by(Named(CART), Collected(EvidenceView(at=1.0, edges=(edge, idle)), 1))
    assert told[-1] == "  2 open: shop/serviceaccount/cart to shop/deployment/orders, port 8080"
    assert "is not known: nobody answered" in ended_by(Named(CART), Collected(None, 1, ("nobody answered",)))[-1]
