"""A policy answers for the plaintext that reaches what it decides, and for no other."""

from datetime import timedelta
from typing import Any

from handfast_operator.cluster.objects import Pod
from handfast_operator.evidence.view import EdgeView, Party
from handfast_operator.policy.compile import PolicySet, compile_policy
from handfast_operator.policy.plaintext import PlaintextClient, clients, plaintext_edges, reaches
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from support.objects import pod
from support.virtual_time import START

DAY = timedelta(hours=24)
NOW = START
CART = Party("shop", "deployment/cart")
ORDERS = Party("shop", "deployment/orders")


def of_deployment(app: str, number: int = 1, **more: Any) -> Pod:
    return pod(
        "shop",
        f"{app}-5d9-{number}",
        labels={"app": app, "pod-template-hash": "5d9"},
        owner=f"ReplicaSet/{app}-5d9",
        **more,
    )


def policy(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": "shop", "name": name, "uid": name, "resourceVersion": "1", "creationTimestamp": "2026"}
    return {"metadata": metadata, "spec": spec}


def edge(ago: timedelta, destination: Party = ORDERS, source: Party = CART, **more: Any) -> EdgeView:
    at = (NOW - ago).timestamp()
    fields: dict[str, Any] = {"port": 8080, "encrypted": False, "connections": 1, "last_carried": at, **more}
    return EdgeView(source, destination, last_seen=at, **fields)


def seen(
    *edges: EdgeView, pods: tuple[Pod, ...] = (of_deployment("orders"),), others: tuple[dict[str, Any], ...] = ()
) -> list[PlaintextClient]:
    """Who stands in the way of the policy shop/auto, which is the whole namespace's."""
    policies = PolicySet(
        (parse_cluster_mtls_policy(policy("default", mode="Auto")),),
        {"shop": tuple(map(parse_mtls_policy, (policy("auto", mode="Auto"), *others)))},
    )
    found = reaches(
        ["MTLSPolicy shop/auto"],
        pods,
        lambda each: compile_policy(each.namespace, each.labels, {}, policies, "cluster.local"),
    )
    return list(clients(plaintext_edges(edges), found["MTLSPolicy shop/auto"], NOW, DAY).newest)


def ago(hours: float) -> timedelta:
    return timedelta(hours=hours)


def test_a_client_is_named_by_its_workload_with_the_port_and_when_it_was_last_seen() -> None:
    assert seen(edge(ago(1))) == [PlaintextClient("shop", "deployment/cart", 8080, NOW - ago(1))]


def test_one_outside_of_the_cluster_is_named_by_its_address() -> None:
    [client] = seen(edge(ago(1), source=Party("", "192.0.2.7")))
    assert (client.namespace, str(client)) == ("", "192.0.2.7")


def test_the_newest_comes_first_and_each_once() -> None:
    both = edge(ago(3)), edge(ago(1), Party("shop", "deployment/mail"))
    pods = (of_deployment("orders"), of_deployment("mail"))
    found = seen(*both, edge(ago(2), source=Party("web", "pod/front")), pods=pods)
    assert [(str(each), each.last_seen) for each in found] == [
        ("shop/deployment/cart", NOW - ago(1)),
        ("web/pod/front", NOW - ago(2)),
    ]


def test_an_open_connection_is_seen_now_however_old() -> None:
    assert [each.last_seen for each in seen(edge(ago(100), open=1))] == [NOW]


def test_who_was_not_seen_for_the_whole_time_is_no_client_any_more() -> None:
    assert seen(edge(ago(24))) == []


def test_tunnels_and_refusals_are_no_plaintext() -> None:
    refusals = edge(ago(1), connections=0, refused={"plaintext_refused": 9}, last_carried=0)
    assert seen(edge(ago(1), encrypted=True), refusals) == []


def test_what_was_carried_before_the_directory_began_counts() -> None:
    assert len(seen(edge(ago(1), connections=0))) == 1


def test_a_port_with_an_entry_of_its_own_does_not_count() -> None:
    entry = policy("metrics", ports=[{"port": 9090, "mode": "Permissive"}])
    assert [each.port for each in seen(edge(ago(1)), edge(ago(1), port=9090), others=(entry,))] == [8080]


def test_it_counts_where_one_of_the_pods_has_no_entry() -> None:
    entry = policy("canary", ports=[{"port": 8080, "mode": "Permissive"}], selector={"matchLabels": {"canary": "yes"}})
    canary = pod("shop", "orders-canary", labels={"canary": "yes"}, owner="StatefulSet/orders")
    normal = pod("shop", "orders-normal", owner="StatefulSet/orders")
    to_set = edge(ago(1), Party("shop", "statefulset/orders"))
    assert seen(to_set, pods=(canary,), others=(entry,)) == []
    assert len(seen(to_set, pods=(canary, normal), others=(entry,))) == 1


def test_a_pod_whose_mode_another_policy_decides_does_not_count() -> None:
    other = policy("legacy", mode="Permissive", selector={"matchLabels": {"app": "orders"}})
    assert seen(edge(ago(1)), others=(other,)) == []


def test_a_workload_without_a_pod_that_has_a_sidecar_does_not_count() -> None:
    assert seen(edge(ago(1)), pods=(of_deployment("orders", meshed=False), of_deployment("mail"))) == []
    assert seen(edge(ago(1)), pods=(of_deployment("orders", phase="Succeeded"), of_deployment("mail"))) == []


def test_clients_that_a_sidecar_could_not_tell_apart_count_at_whatever_port() -> None:
    [client] = seen(edge(ago(1), source=Party("", "other"), port=0))
    assert (str(client), client.port) == ("other", 0)


def test_what_a_directory_had_no_room_for_is_nobodys() -> None:
    assert seen(edge(ago(1), Party("", "other"), Party("", "other"), port=0)) == []


def test_a_clock_that_is_ahead_does_not_see_the_future() -> None:
    assert [each.last_seen for each in seen(edge(ago(-5)))] == [NOW]
