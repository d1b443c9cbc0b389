"""What a NetworkPolicy admits, as the API documents it (networking.k8s.io/v1)."""

from typing import Any

import pytest

from handfast_operator.cluster.network_policies import NetworkPolicy, Rule, parse_network_policy
from handfast_operator.cluster.objects import ContainerPort

HTTP = (ContainerPort("http", 8080), ContainerPort("metrics", 9090))


def parsed(**spec: Any) -> NetworkPolicy:
    meta = {"namespace": "shop", "name": "p", "uid": "u", "resourceVersion": "7"}
    return parse_network_policy({"metadata": meta, "spec": {"podSelector": {}, **spec}})


def rule(**fields: Any) -> Rule:
    [found] = parsed(ingress=[fields]).ingress or ()
    return found


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    [
        ({}, True, False),
        ({"egress": [{}]}, True, True),
        ({"egress": []}, True, False),
        ({"policyTypes": ["Egress"]}, False, True),
        ({"policyTypes": ["Ingress"], "egress": [{}]}, True, False),
        ({"policyTypes": ["Ingress", "Egress"]}, True, True),
    ],
)
def test_a_direction_is_isolated_by_its_type_or_by_the_default(
    spec: dict[str, Any], ingress: bool, egress: bool
) -> None:
    found = parsed(**spec)
    assert (found.ingress is not None, found.egress is not None) == (ingress, egress)


@pytest.mark.parametrize(
    ("ports", "admitted"),
    [
        (None, {8080, 9090, 14008}),
        ([], {8080, 9090, 14008}),
        ([{}], {8080, 9090, 14008}),
        ([{"protocol": "TCP"}], {8080, 9090, 14008}),
        ([{"port": 8080}], {8080}),
        ([{"protocol": "TCP", "port": 8080}, {"port": 14008}], {8080, 14008}),
        ([{"port": "http"}], {8080}),
        ([{"port": "metrics"}], {9090}),
        ([{"port": "no-such-name"}], set()),
        ([{"port": 8000, "endPort": 9000}], {8080}),
        ([{"port": 9000, "endPort": 14008}], {9090, 14008}),
        ([{"port": 14009, "endPort": 20000}], set()),
        ([{"protocol": "UDP", "port": 8080}], set()),
        ([{"protocol": "SCTP"}], set()),
        ([{"protocol": "UDP", "port": 53}, {"port": 9090}], {9090}),
    ],
)
def test_ports_are_admitted_by_number_by_name_by_range_and_by_protocol(
    ports: list[dict[str, Any]] | None, admitted: set[int]
) -> None:
    found = rule(**({} if ports is None else {"ports": ports}))
    assert {port for port in (8080, 9090, 14008) if found.admits(port, HTTP)} == admitted


APP = {"matchLabels": {"app": "web"}}
SHOP = {"matchLabels": {"team": "shop"}}


@pytest.mark.parametrize(
    ("peer", "selected"),
    [
        ({"podSelector": {}}, {"web here", "other here"}),
        ({"podSelector": APP}, {"web here"}),
        ({"namespaceSelector": {}}, {"web here", "other here", "web there", "other there"}),
        ({"namespaceSelector": SHOP}, {"web there", "other there"}),
        ({"namespaceSelector": SHOP, "podSelector": APP}, {"web there"}),
        ({"namespaceSelector": {}, "podSelector": APP}, {"web here", "web there"}),
        (
            {"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}},
            {"other here"},
        ),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}, {"web here", "other here"}),
        ({"ipBlock": {"cidr": "0.0.0.0/0"}}, set()),
    ],
)
def test_a_peer_selects_pods_by_their_labels_and_their_namespaces(peer: dict[str, Any], selected: set[str]) -> None:
    found = rule(**{"from": [peer]})
    assert found.peers is not None
    labels: dict[str, dict[str, str]] = {"here": {}, "there": {"team": "shop"}}
    assert {
        f"{app} {where}"
        for where in labels
        for app in ("web", "other")
        if found.peers[0].selects("shop", "shop" if where == "here" else "far", labels[where], {"app": app})
    } == selected


@pytest.mark.parametrize(
    ("block", "address", "inside"),
    [
        ({"cidr": "10.0.0.0/8"}, "10.1.2.3", True),
        ({"cidr": "10.0.0.7/8"}, "10.1.2.3", True),
        ({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, "10.1.2.3", False),
        ({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, "10.2.0.1", True),
        ({"cidr": "10.0.0.0/8"}, "fd00::1", False),
        ({"cidr": "fd00::/8"}, "fd00::1", True),
    ],
)
def test_a_block_is_a_range_without_its_exceptions(block: dict[str, Any], address: str, inside: bool) -> None:
    found = rule(**{"from": [{"ipBlock": block}]})
    assert found.peers is not None
    assert found.peers[0].block is not None
    assert found.peers[0].block.contains(address) is inside


def test_a_range_that_nobody_can_read_means_nobody() -> None:
    found = rule(**{"from": [{"ipBlock": {"cidr": "010.0.0.0/8"}}]})
    assert found.peers is not None
    assert found.peers[0].block is None
    assert not found.peers[0].selects("shop", "shop", {}, {})


def test_no_peers_mean_everybody() -> None:
    assert rule().peers is None
    assert rule(**{"from": []}).peers is None


def test_a_policy_without_a_spec_isolates_every_pod_of_its_namespace() -> None:
    meta = {"namespace": "shop", "name": "p", "uid": "u", "resourceVersion": "7"}
    found = parse_network_policy({"metadata": meta})
    assert found.ingress == ()
    assert found.selector.matches({"any": "label"})
