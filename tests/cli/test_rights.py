"""What is read of the API server, what a missing right means, and how things are found by their names."""

import pytest

from cli.stage import OURS, SHOP, metadata, run, shop
from handfast_operator.cli import policy, why
from handfast_operator.cli.errors import CliError
from handfast_operator.cluster.client import ApiError
from handfast_operator.resources.answer import told_selector

Output = pytest.CaptureFixture[str]


async def test_with_all_rights_the_answer_is_known(capsys: Output) -> None:
    async with shop() as (server, client):
        code, answer = await run(why, client, capsys, "cart", "service/orders:http")
        assert (code, answer["verdict"], answer["unread"]) == (0, "allowed", [])
        assert answer["from"]["identity"] == "spiffe://test.example/ns/shop/sa/cart"
        assert answer["paths"][0]["rule"] == "MTLSPolicy shop/strict"
        assert answer["lastSeen"] is None
        assert "no handfast-directory runs in the namespace handfast-system" in answer["notes"][0]
        assert SHOP not in server.asked, "labels of namespaces are nobody's affair here"


@pytest.mark.parametrize(
    ("path", "right"),
    [
        (f"{OURS}/clustermtlspolicies", "jane may not list clustermtlspolicies.handfast.dev in the whole cluster"),
        (f"{OURS}/namespaces/shop/mtlspolicies", "jane may not list mtlspolicies.handfast.dev in the namespace shop"),
    ],
)
async def test_policies_that_may_not_be_read_leave_the_answer_unknown(capsys: Output, path: str, right: str) -> None:
    async with shop() as (server, client):
        server.forbidden.add(path)
        code, answer = await run(why, client, capsys, "cart", "orders:8080")
        assert (code, answer["verdict"], answer["paths"][0]["verdict"]) == (3, "unknown", "allowed")
        assert right in answer["unread"][0]
        code, answer = await run(policy, client, capsys, "effective", "cart")
        assert (code, len(answer["unread"])) == (3, 1)


async def test_a_namespaces_labels_matter_where_a_policy_selects_by_them(capsys: Output) -> None:
    selector = {"matchLabels": {"team": "a"}}
    deny = [{"from": [{"principal": "spiffe://test.example/ns/shop/sa/cart"}]}]
    async with shop() as (server, client):
        raw = {"metadata": metadata("lock"), "spec": {"namespaceSelector": selector, "deny": deny}}
        server.put(f"{OURS}/clustermtlspolicies", raw)
        code, answer = await run(why, client, capsys, "cart", "pod/orders:http")
        assert (code, answer["paths"][0]["rule"]) == (1, "ClusterMTLSPolicy lock")
        server.forbidden.add(SHOP)
        code, answer = await run(why, client, capsys, "cart", "pod/orders:http")
        assert (code, answer["verdict"]) == (3, "unknown")


async def test_a_trust_domain_that_may_not_be_read_is_assumed_and_that_is_said(capsys: Output) -> None:
    async with shop() as (server, client):
        server.forbidden.add(f"{OURS}/trustdomains")
        code, answer = await run(why, client, capsys, "cart", "pod/orders:8080")
        assert (code, answer["trustDomain"]) == (0, "cluster.local")
        assert "taken for cluster.local" in answer["notes"][0]


async def test_what_is_named_and_may_not_be_read_is_the_api_servers_refusal(capsys: Output) -> None:
    async with shop() as (server, client):
        server.forbidden.add(f"{SHOP}/pods/cart")
        with pytest.raises(ApiError) as caught:
            await run(why, client, capsys, "cart", "pod/orders:8080")
        assert caught.value.status == 403


async def test_a_name_alone_is_the_pod_and_the_service_is_mentioned(capsys: Output) -> None:
    async with shop() as (server, client):
        _code, answer = await run(why, client, capsys, "cart", "orders:http")
        assert answer["to"] == {"name": "pod shop/orders", "port": 8080}
        assert "there is a Service of that name too: service/orders" in answer["notes"][0]
        del server.objects[f"{SHOP}/pods/orders"]
        _code, answer = await run(why, client, capsys, "cart", "orders:http")
        assert answer["to"] == {"name": "service shop/orders", "port": 80}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nobody", "orders:80"), "there is no pod shop/nobody; for a workload write its kind"),
        (("cart", "nobody:80"), "there is neither a pod nor a Service shop/nobody"),
        (("cart", "service/nobody:80"), "there is no Service shop/nobody"),
        (("cart", "service/orders:grpc"), r"has no TCP port 'grpc'; it has: http \(80\)"),
        (("cart", "pod/orders:grpc"), "declares no port 'grpc': give its number"),
        (("service/orders", "pod/orders:80"), "a Service connects to nobody"),
        (("cart", "10.0.0.9:http"), "an address has ports by number alone"),
    ],
)
async def test_what_cannot_be_found_is_named(capsys: Output, words: tuple[str, ...], told: str) -> None:
    async with shop() as (_server, client):
        with pytest.raises(CliError, match=told):
            await run(why, client, capsys, *words)


def test_a_label_selector_is_written_as_a_query() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "new", "operator": "Exists"},
        {"key": "x", "operator": "NotIn", "values": ["y"]},
    ]
    assert told_selector({"matchLabels": {"app": "cart"}, "matchExpressions": expressions}) == (
        "app=cart,tier in (a,b),!old,new,x notin (y)"
    )


@pytest.mark.parametrize("account", ["cart", "orders"])
async def test_whoever_is_revoked_is_refused_whatever_the_policies_say(capsys: Output, account: str) -> None:
    identity = f"spiffe://test.example/ns/shop/sa/{account}"
    spec = {"revoked": [{"identity": identity, "reason": "under investigation"}]}
    async with shop() as (server, client):
        server.put(f"{OURS}/trustdomains", {"metadata": {"name": "test.example"}, "spec": spec})
        code, answer = await run(why, client, capsys, "cart", "pod/orders:8080")
        assert (code, answer["verdict"]) == (1, "refused")
        [path] = answer["paths"]
        assert path["reason"] == "handshake_revoked"
        assert path["sentence"].startswith(f"{identity} is revoked: under investigation")
