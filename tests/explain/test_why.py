"""Why a connection passes or not: every way that it may take, judged by the functions that sidecars judge with."""

import json
from dataclasses import replace

import pytest

from explain.stage import cluster_policy, grant, policy, why, world
from handfast_operator.cli.words import text
from handfast_operator.cluster.objects import Pod
from handfast_operator.evidence.view import EdgeView, EvidenceView, Party
from handfast_operator.explain.explanation import Explanation, Question, explain
from handfast_operator.explain.parties import Client, Target
from handfast_sidecar.identity.revocation import Revocation
from handfast_sidecar.identity.spiffe import SpiffeId
from support.stores import TRUST_DOMAIN, end, endpoint_slice, pod, service

CART = pod("cart", "10.0.0.1")
ORDERS = pod("orders", "10.0.0.2", labels={"app": "orders"})
CURL = pod("curl", "10.0.0.3", meshed=False)
IN_ORDERS = {"matchLabels": {"app": "orders"}}
CART_ID = f"spiffe://{TRUST_DOMAIN}/ns/shop/sa/cart"


def only(explanation: Explanation) -> tuple[str, str, str, str]:
    """Its one path: way, verdict, judge, reason."""
    [path] = explanation.paths
    return (path.way, path.verdict, path.judge, path.reason)


def with_annotations(pod: Pod, **annotations: str) -> Pod:
    return replace(
        pod, annotations={f"handfast.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    )


def test_two_meshed_pods_talk_through_a_tunnel() -> None:
    answer = why(world(CART, ORDERS), CART, "10.0.0.2")
    assert only(answer) == ("tunnel", "allowed", "server", "ok")
    assert answer.verdict == "allowed"


def test_strict_refuses_who_has_no_sidecar_and_names_the_policy() -> None:
    answer = why(world(CURL, ORDERS, policy("strict", mode="Strict")), CURL, "10.0.0.2")
    assert only(answer) == ("plaintext", "refused", "server", "plaintext_refused")
    assert answer.paths[0].rule == "MTLSPolicy shop/strict"
    assert text(answer).startswith("Refused, plaintext_refused: MTLSPolicy shop/strict asks for Strict on port 8080")


@pytest.mark.parametrize(("account", "judge"), [("cart", "server"), ("orders", "client")])
def test_who_is_revoked_is_refused_by_the_other_whatever_the_policies_say(account: str, judge: str) -> None:
    identity = SpiffeId.of_service_account(TRUST_DOMAIN, "shop", account)
    answer = why(world(CART, ORDERS, revoked=[Revocation(identity, reason="under investigation")]), CART, "10.0.0.2")
    assert only(answer) == ("tunnel", "refused", judge, "handshake_revoked")
    assert text(answer).startswith(f"Refused, handshake_revoked: {identity} is revoked: under investigation")
    assert f"handfast revoke --undo {identity}" in answer.paths[0].remedy


def test_a_revocation_that_has_ended_refuses_nobody() -> None:
    identity = SpiffeId.parse(CART_ID)
    assert why(world(CART, ORDERS, revoked=[Revocation(identity, until=1)]), CART, "10.0.0.2").verdict == "allowed"


def test_an_allow_list_refuses_others_with_the_entry_that_is_missing() -> None:
    there = world(CART, ORDERS, policy("orders", selector=IN_ORDERS, allow=[{"from": [{"serviceAccount": "web"}]}]))
    answer = why(there, CART, "10.0.0.2")
    assert only(answer) == ("tunnel", "refused", "server", "denied")
    assert "{from: [{namespace: shop, serviceAccount: cart}], ports: [8080]}" in answer.paths[0].remedy


def test_a_deny_says_that_nobody_can_take_it_back() -> None:
    there = world(CART, ORDERS, cluster_policy("lock", deny=[{"from": [{"principal": CART_ID}]}]))
    answer = why(there, CART, "10.0.0.2")
    assert only(answer) == ("tunnel", "refused", "server", "denied")
    assert "take it out of `deny` in ClusterMTLSPolicy lock" in answer.paths[0].remedy


def test_what_is_only_audited_is_allowed_and_told() -> None:
    there = world(CURL, ORDERS, policy("strict", mode="Strict", enforcement="Audit"))
    answer = why(there, CURL, "10.0.0.2")
    assert (answer.verdict, answer.paths[0].reason) == ("audited", "plaintext_refused")
    assert text(answer).startswith("Allowed, and reported (Audit), plaintext_refused: ")


def test_a_grant_lets_in_by_its_name_until_it_ends() -> None:
    own = policy("orders", allow=[{"from": [{"serviceAccount": "web"}]}])
    stranger = Client(SpiffeId.of_service_account(TRUST_DOMAIN, "web", "cart"))
    labelled = replace(ORDERS, labels={"app": "orders"})
    lives = why(world(labelled, own, grant("cart", "2100-01-01T00:00:00Z")), stranger, "10.0.0.2")
    ended = why(world(labelled, own, grant("cart", "2020-01-01T00:00:00Z")), stranger, "10.0.0.2")
    assert only(lives) == ("tunnel", "allowed", "server", "ok")
    assert lives.paths[0].rule == "AccessGrant shop/cart"
    assert (ended.verdict, ended.paths[0].rule) == ("refused", "MTLSPolicy shop/orders")


@pytest.mark.parametrize(("enforcement", "verdict"), [("Enforce", "refused"), ("Audit", "audited")])
def test_what_the_clients_own_policy_does_not_let_out_is_judged_by_the_client(enforcement: str, verdict: str) -> None:
    bare = pod("orders", "10.0.0.2", meshed=False)
    there = world(CART, bare, policy("out", outbound={"plaintext": "Refuse"}, enforcement=enforcement))
    answer = why(there, CART, "10.0.0.2")
    assert only(answer) == ("plaintext", verdict, "client", "outbound_plaintext_refused")
    assert answer.paths[0].rule == "MTLSPolicy shop/out"
    nobody = why(world(CART, policy("out", outbound={"unknown": "Refuse"})), CART, "192.0.2.1")
    assert only(nobody) == ("plaintext", "refused", "client", "outbound_unknown_refused")


def test_a_service_account_is_judged_without_any_pod() -> None:
    there = world(ORDERS, policy("orders", allow=[{"from": [{"serviceAccount": "web"}]}]))
    allowed = why(there, Client(SpiffeId.of_service_account(TRUST_DOMAIN, "shop", "web")), "10.0.0.2")
    refused = why(there, Client(SpiffeId.of_service_account(TRUST_DOMAIN, "web", "web")), "10.0.0.2")
    assert (allowed.verdict, refused.verdict) == ("allowed", "refused")
    assert "FROM       any meshed pod of service account shop/web" in text(allowed)


def test_disabled_is_plaintext_by_the_directorys_own_word() -> None:
    answer = why(world(CART, ORDERS, policy("off", mode="Disabled")), CART, "10.0.0.2")
    assert only(answer) == ("plaintext", "allowed", "server", "ok")
    assert answer.paths[0].mode_by == "MTLSPolicy shop/off"


def test_nobody_judges_what_reaches_a_pod_without_a_sidecar() -> None:
    answer = why(world(CART, CURL, policy("strict", mode="Strict")), CART, "10.0.0.3")
    assert only(answer) == ("plaintext", "allowed", "nobody", "ok")
    assert "the server, pod shop/curl, has no sidecar" in text(answer)


def test_an_address_that_is_nobodys_is_dialled_as_it_is() -> None:
    assert only(why(world(CART), CART, "192.0.2.1")) == ("plaintext", "allowed", "nobody", "ok")


def test_a_port_that_the_server_skips_is_guarded_by_nobody_but_peers_come_by_tunnel() -> None:
    skipping = with_annotations(ORDERS, skip_inbound_ports="8080")
    there = world(CART, CURL, skipping, policy("strict", mode="Strict"))
    assert only(why(there, CURL, "10.0.0.2")) == ("plaintext", "allowed", "nobody", "ok")
    assert only(why(there, CART, "10.0.0.2")) == ("tunnel", "allowed", "server", "ok")


@pytest.mark.parametrize(
    "annotations",
    [{"skip_outbound_ports": "8000-8100"}, {"skip_outbound_cidrs": "10.0.0.0/24"}, {"interception": "none"}],
    ids=str,
)
def test_what_the_client_keeps_out_of_the_mesh_is_plaintext_to_the_server(annotations: dict[str, str]) -> None:
    client = with_annotations(CART, **annotations)
    answer = why(world(client, ORDERS, policy("strict", mode="Strict")), client, "10.0.0.2")
    assert only(answer) == ("plaintext", "refused", "server", "plaintext_refused")


def test_an_upstream_of_explicit_mode_is_a_tunnel() -> None:
    client = with_annotations(CART, interception="none", upstreams="18080=orders.shop:8080")
    there = world(client, ORDERS)
    assert why(there, client, "10.0.0.2", hosts=frozenset({"orders.shop"})).paths[0].way == "tunnel"
    assert why(there, client, "10.0.0.2").paths[0].way == "plaintext"


def test_nothing_stands_before_a_server_in_explicit_mode() -> None:
    there = world(CURL, with_annotations(ORDERS, interception="none"), policy("strict", mode="Strict"))
    assert only(why(there, CURL, "10.0.0.2")) == ("plaintext", "allowed", "nobody", "ok")


def test_a_foreign_port_says_that_there_is_another_way_in() -> None:
    there = world(CURL, ORDERS, policy("strict", mode="Strict", foreign={"ports": [8080]}))
    answer = why(there, CURL, "10.0.0.2")
    assert answer.verdict == "refused"
    assert "may speak mutual TLS itself on port 8080" in answer.paths[0].remedy


def test_a_pod_talks_to_itself_past_its_sidecar() -> None:
    there = world(ORDERS, policy("nobody", allow=[]))
    assert only(why(there, ORDERS, "10.0.0.2")) == ("plaintext", "allowed", "nobody", "ok")


# --- Services

TWO = (pod("orders-1", "10.0.0.11", labels={"app": "orders"}), pod("orders-2", "10.0.0.12", labels={"app": "orders"}))
BEHIND = (
    service("orders", "10.96.0.1"),
    endpoint_slice("orders-1", "orders", [end(each) for each in TWO]),
)


def test_endpoints_with_one_verdict_are_one_path() -> None:
    [path] = why(world(CART, *TWO, *BEHIND), CART, "10.96.0.1", 80).paths
    assert [(each.address, each.port) for each in path.ends] == [("10.0.0.11", 8080), ("10.0.0.12", 8080)]
    assert (path.way, path.verdict) == ("tunnel", "allowed")


def test_endpoints_with_two_policies_are_two_paths_and_the_answer_depends() -> None:
    closed = replace(TWO[1], labels={"app": "closed"})
    there = world(
        CART, TWO[0], closed, *BEHIND, policy("closed", selector={"matchLabels": {"app": "closed"}}, allow=[])
    )
    answer = why(there, CART, "10.96.0.1", 80)
    assert answer.verdict == "mixed"
    assert [(each.verdict, each.ends[0].address) for each in answer.paths] == [
        ("allowed", "10.0.0.11"),
        ("refused", "10.0.0.12"),
    ]
    assert text(answer).startswith("It depends on the endpoint: 1 allow it, 1 refuse it.")


def test_a_client_without_a_sidecar_meets_each_endpoint_in_plaintext() -> None:
    there = world(CURL, *TWO, *BEHIND, policy("strict", mode="Strict"))
    assert only(why(there, CURL, "10.96.0.1", 80)) == ("plaintext", "refused", "server", "plaintext_refused")


def test_a_port_that_the_service_does_not_have_is_refused_by_the_client() -> None:
    assert only(why(world(CART, *TWO, *BEHIND), CART, "10.96.0.1", 81)) == ("none", "refused", "client", "no_such_port")


def test_a_service_without_endpoints_says_so() -> None:
    there = world(CART, service("orders", "10.96.0.1"), endpoint_slice("orders-1", "orders", []))
    assert only(why(there, CART, "10.96.0.1", 80)) == ("none", "refused", "client", "no_endpoints")


# --- what it rests on


def test_without_a_policy_that_may_decide_the_answer_is_unknown() -> None:
    answer = why(world(CART, ORDERS, unread=["jane may not list clustermtlspolicies"]), CART, "10.0.0.2")
    assert answer.verdict == "unknown"
    assert text(answer).startswith("Unknown: something that decides could not be read. As far as can be seen: Allowed")
    assert "UNREAD     jane may not list clustermtlspolicies" in text(answer)


def test_a_sidecar_that_does_not_run_is_a_warning_and_no_verdict() -> None:
    dead = replace(ORDERS, proxy_running=False)
    answer = why(world(CART, dead), CART, "10.0.0.2")
    assert answer.verdict == "allowed"
    assert "has a sidecar that does not run" in answer.warnings[0]


def test_rules_about_keys_are_judged_without_one_and_that_is_said() -> None:
    there = world(CART, ORDERS, policy("keys", allow=[{"from": [{"spkiSHA256": "ab" * 32}]}]))
    answer = why(there, CART, "10.0.0.2")
    assert answer.verdict == "refused"
    assert "as if the client had another one" in answer.notes[0]


def test_what_was_last_seen_is_of_these_two_at_this_port() -> None:
    cart, orders = Party("shop", "pod/cart", CART_ID), Party("shop", "pod/orders")
    edge = EdgeView(cart, orders, 8080, encrypted=True, connections=3, refused={"denied": 2}, last_seen=90.0)
    others = (replace(edge, port=9090), replace(edge, source=Party("web", "pod/cart")), replace(edge, destination=cart))
    view = EvidenceView(100.0, (edge, *others))
    answer = why(world(CART, ORDERS), CART, "10.0.0.2", view=view)
    assert answer.seen == (edge,)
    assert "LAST SEEN  10s ago, encrypted; 3 connections, 0 open; refused: denied 2" in text(answer)
    assert "LAST SEEN  never" in text(why(world(CART, ORDERS), CART, "10.0.0.2", view=EvidenceView(1.0)))
    assert "LAST SEEN" not in text(why(world(CART, ORDERS), CART, "10.0.0.2"))


def test_who_has_no_sidecar_is_seen_by_his_address() -> None:
    edge = EdgeView(Party("", "10.0.0.3"), Party("shop", "pod/orders"), 8080, encrypted=False, last_seen=1.0)
    assert why(world(CURL, ORDERS), CURL, "10.0.0.2", view=EvidenceView(2.0, (edge,))).seen == (edge,)


def test_a_service_without_sidecars_is_seen_by_its_name() -> None:
    plain = [replace(each, secret="") for each in TWO]
    there = world(CART, *plain, *BEHIND)
    edge = EdgeView(Party("shop", "pod/cart", CART_ID), Party("shop", "service/orders"), 80, encrypted=False)
    question = Question(
        Client.of(CART, TRUST_DOMAIN), "service shop/orders", 80, (Target("10.96.0.1", 80),), "shop/orders"
    )
    assert explain(there, question, EvidenceView(2.0, (edge, replace(edge, port=81)))).seen == (edge,)


def test_the_data_has_all_that_the_words_have() -> None:
    there = world(CART, ORDERS, policy("orders", selector=IN_ORDERS, allow=[]), policy("strict", mode="Strict"))
    document = why(there, CART, "10.0.0.2", view=EvidenceView(1.0)).to_json()
    assert json.loads(json.dumps(document)) == document
    assert {name: document[name] for name in ("version", "verdict", "to", "trustDomain", "lastSeen")} == {
        "version": 1,
        "verdict": "refused",
        "to": {"name": "10.0.0.2", "port": 8080},
        "trustDomain": TRUST_DOMAIN,
        "lastSeen": [],
    }
    assert document["from"]["identity"] == CART_ID
    [path] = document["paths"]
    assert path["endpoints"][0]["pod"]["sidecar"] == {"running": False, "image": ""}
    assert path["mode"] == {"mode": "Strict", "from": "MTLSPolicy shop/strict"}
    assert [each["policy"] for each in path["policies"]] == ["MTLSPolicy shop/orders", "MTLSPolicy shop/strict"]
