"""What holds for a pod, with the origin of each field, and what becomes of each policy of its chain."""

from typing import Any

import pytest

from explain.stage import Json, cluster_policy, policy, world
from handfast_operator.explain.explanation import chain_of
from handfast_operator.explain.fields import _flat, fields
from support.stores import TRUST_DOMAIN, pod

ORDERS = pod("orders", "10.0.0.2", labels={"app": "orders"})
SELECTOR = {"matchLabels": {"app": "orders"}}


def decided(*policies: Json) -> dict[str, tuple[str, str]]:
    """Text and origin of each field."""
    found = fields(world(ORDERS, *policies).compiled(ORDERS), TRUST_DOMAIN)
    return {each.name: (each.text, each.origin) for each in found}


def said(*policies: Json) -> list[tuple[str, str, str]]:
    """Policy, field, and what becomes of it."""
    links = chain_of(world(ORDERS, *policies), ORDERS)
    return [(link.origin, each.field, each.by or each.effect) for link in links for each in link.said]


def test_what_nobody_says_is_shown_as_what_holds_then() -> None:
    assert decided() == {
        "mode": ("Permissive", "default"),
        "ports": ("none differs", "default"),
        "allow": (f"every identity of {TRUST_DOMAIN}", "default"),
        "deny": ("nobody", "default"),
        "enforcement": ("Enforce", "default"),
        "foreign": ("no port", "default"),
        "certificate.ttl": ("24h", "default"),
    }


def test_each_field_names_the_object_that_decided_it() -> None:
    found = decided(
        policy("orders", selector=SELECTOR, ports=[{"port": 9090, "mode": "Disabled"}], enforcement="Audit"),
        policy("shop", mode="Strict", certificate={"ttl": "90m"}, foreign={"ports": [8443]}),
    )
    assert found["mode"] == ("Strict", "MTLSPolicy shop/shop")
    assert found["ports[9090]"] == ("Disabled", "MTLSPolicy shop/orders")
    assert found["enforcement"] == ("Audit", "MTLSPolicy shop/orders")
    assert found["foreign"] == ("ports 8443, minVersion 1.3", "MTLSPolicy shop/shop")
    assert found["certificate.ttl"] == ("1h30m", "MTLSPolicy shop/shop")


def test_rules_are_told_one_by_one() -> None:
    found = decided(
        policy("orders", allow=[{"from": [{"serviceAccount": "cart"}], "ports": [80]}, {"ports": [81]}]),
        cluster_policy("lock", deny=[{"from": [{"spkiSHA256": "ab" * 32}]}]),
    )
    assert found["allow"] == ("only those listed", "MTLSPolicy shop/orders")
    assert found["allow[0]"] == (f"spiffe://{TRUST_DOMAIN}/ns/shop/sa/cart on port 80", "MTLSPolicy shop/orders")
    assert found["allow[1]"] == ("everybody on port 81", "MTLSPolicy shop/orders")
    assert found["deny[0]"] == ("key abababababab...", "ClusterMTLSPolicy lock")


def test_an_empty_allow_list_lets_nobody_in() -> None:
    assert decided(policy("closed", allow=[]))["allow"] == ("nobody", "MTLSPolicy shop/closed")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"unknown": {"value": "Refuse", "from": "A"}, "except": [{"cidr": "10.0.0.0/8"}]},
         [("new.unknown", "Refuse", "A"), ("new.except", "cidr 10.0.0.0/8", "")]),
        ({"value": 5, "burst": 6, "from": "B"}, [("new", "value 5, burst 6", "B")]),
        ("word", [("new", "word", "")]),
    ],
)  # fmt: skip
def test_a_field_that_is_new_is_shown_by_itself(value: Any, told: list[tuple[str, str, str]]) -> None:
    assert [(each.name, each.text, each.origin) for each in _flat("new", value)] == told


def test_the_chain_says_who_decides_and_who_is_overruled_by_whom() -> None:
    assert said(
        cluster_policy(
            "default", mode="Permissive", deny=[{"from": [{"namespace": "sandbox", "serviceAccount": "x"}]}]
        ),
        policy("shop", mode="Strict", ports=[{"port": 80, "mode": "Permissive"}, {"port": 81, "mode": "Strict"}]),
        policy("orders", selector=SELECTOR, ports=[{"port": 80, "mode": "Disabled"}]),
        policy("younger", mode="Disabled", certificate={"ttl": "1h"}),
    ) == [
        ("MTLSPolicy shop/orders", "ports[80]", "decides"),
        ("MTLSPolicy shop/shop", "mode", "decides"),
        ("MTLSPolicy shop/shop", "ports[80]", "MTLSPolicy shop/orders"),
        ("MTLSPolicy shop/shop", "ports[81]", "decides"),
        ("MTLSPolicy shop/younger", "mode", "MTLSPolicy shop/shop"),
        ("MTLSPolicy shop/younger", "certificate.ttl", "decides"),
        ("ClusterMTLSPolicy default", "mode", "MTLSPolicy shop/shop"),
        ("ClusterMTLSPolicy default", "deny", "adds"),
    ]


def test_a_policy_that_closes_what_a_weaker_one_opens_decides() -> None:
    assert said(policy("closed", foreign={"ports": []}), cluster_policy("open", foreign={"ports": [8443]})) == [
        ("MTLSPolicy shop/closed", "foreign", "decides"),
        ("ClusterMTLSPolicy open", "foreign", "MTLSPolicy shop/closed"),
    ]
