"""Policies that keep sidecars apart whose applications may meet, and those that do not."""

from collections.abc import Mapping
from typing import Any

import pytest

from handfast_operator.cluster.network_policies import NetworkPolicy, parse_network_policy
from handfast_operator.cluster.objects import ContainerPort, Pod
from handfast_operator.obstacles.closed_ports import (
    DIRECTORY_BLOCKED,
    MESH_PORT_BLOCKED,
    Scene,
    findings_about,
    findings_about_directory,
)
from handfast_operator.obstacles.finding import Finding
from handfast_operator.obstacles.parties import parties
from handfast_sidecar.policy.effective import EffectivePolicy, Mode, ModeRule
from support.objects import pod

HTTP = (ContainerPort("handfast-mesh", 14008), ContainerPort("handfast-admin", 14020), ContainerPort("http", 8080))
NAMESPACES: Mapping[str, Mapping[str, str]] = {
    "shop": {"kubernetes.io/metadata.name": "shop"},
    "bank": {"kubernetes.io/metadata.name": "bank"},
    "handfast-system": {"kubernetes.io/metadata.name": "handfast-system"},
}
ORDERS = {"podSelector": {"matchLabels": {"app": "orders"}}}
WEB = {"podSelector": {"matchLabels": {"app": "web"}}}
MESH = {"protocol": "TCP", "port": 14008}


def policy(name: str, namespace: str = "shop", **spec: Any) -> NetworkPolicy:
    meta = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "resourceVersion": "7"}
    return parse_network_policy({"metadata": meta, "spec": {"podSelector": {}, **spec}})


def app(name: str, ip: str, namespace: str = "shop", **more: Any) -> Pod:
    return pod(namespace, f"{name}-0", labels={"app": name}, ips=(ip,), owner=f"StatefulSet/{name}", ports=HTTP, **more)


PODS = [app("orders", "10.0.0.1"), app("web", "10.0.0.2"), app("safe", "10.0.0.3", "bank")]
DIRECTORY = pod("handfast-system", "handfast-directory-0", ips=("10.0.9.9",), meshed=False)


def found(
    *policies: NetworkPolicy,
    pods: list[Pod] | None = None,
    directory: list[Pod] | None = None,
    mode: EffectivePolicy | None = None,
    service: tuple[str, ...] = (),
) -> list[Finding]:
    meshed = parties(PODS if pods is None else pods, lambda name: NAMESPACES[name], policies)
    served = parties(directory or [], lambda name: NAMESPACES[name], policies)
    for each in served:
        each.addresses = service
    scene = Scene(meshed, served, policies, lambda _party: mode or EffectivePolicy())
    return [*(each for party in meshed for each in findings_about(party, scene)), *findings_about_directory(scene)]


def told(*policies: NetworkPolicy, **world: Any) -> list[str]:
    """Who is told of what."""
    return [f"{each.pod.namespace}/{each.pod.name} {each.reason}" for each in found(*policies, **world)]


def ingress(*rules: dict[str, Any], name: str = "orders", **spec: Any) -> NetworkPolicy:
    return policy(name, **{**ORDERS, "ingress": list(rules), **spec})


def egress(*rules: dict[str, Any], name: str = "web", **spec: Any) -> NetworkPolicy:
    return policy(name, **{**WEB, "policyTypes": ["Egress"], "egress": list(rules), **spec})


BLOCKED = [f"shop/orders-0 {MESH_PORT_BLOCKED}"]
PORT = {"port": 8080}


@pytest.mark.parametrize(
    "rules",
    [
        [{"ports": [PORT]}],
        [{"ports": [{"port": "http"}]}],
        [{"ports": [{"port": 8000, "endPort": 9000}]}],
        [{"ports": [PORT], "from": [WEB]}],
        [{"ports": [PORT], "from": [{"ipBlock": {"cidr": "10.0.0.0/24"}}]}],
        [{"ports": [PORT], "from": [{"namespaceSelector": {"matchLabels": NAMESPACES["bank"]}}]}],
        [{"ports": [PORT]}, {"ports": [{"protocol": "UDP", "port": 14008}]}],
        [{"ports": [PORT]}, {"ports": [MESH], "from": [WEB]}],
        [{"ports": [PORT], "from": [WEB]}, {"ports": [MESH], "from": [{"namespaceSelector": {}, **ORDERS}]}],
        [{"ports": [PORT]}, {"from": [{"ipBlock": {"cidr": "10.0.0.0/24", "except": ["10.0.0.3/32"]}}]}],
    ],
)
def test_a_policy_that_admits_the_applications_port_alone_is_told(rules: list[dict[str, Any]]) -> None:
    assert told(ingress(*rules)) == BLOCKED


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [{}],
        [{"from": [WEB]}],
        [{"ports": [PORT, MESH]}],
        [{"ports": [PORT]}, {"ports": [MESH]}],
        [{"ports": [PORT]}, {}],
        [{"ports": [{"port": 8000, "endPort": 20000}]}],
        [{"ports": [PORT], "from": [WEB]}, {"ports": [MESH], "from": [{"podSelector": {}}]}],
        [{"ports": [PORT], "from": [WEB]}, {"from": [{"ipBlock": {"cidr": "10.0.0.2/32"}}]}],
        [{"ports": [PORT], "from": [{"podSelector": {"matchLabels": {"app": "nobody"}}}]}],
        [{"ports": [PORT], "from": [{"ipBlock": {"cidr": "192.168.0.0/16"}}]}],
        [{"ports": [PORT], "from": [ORDERS]}],
        [{"ports": [PORT, {"port": "handfast-mesh"}]}],
        [{"ports": [{"port": 14020}]}],
        [{"ports": [{"port": "handfast-admin"}]}],
        [{"ports": [{"protocol": "UDP", "port": 8080}]}],
        [{"ports": [{"port": "no-such-name"}]}],
    ],
)
def test_a_policy_that_keeps_no_sidecar_from_what_its_application_may_is_not_told(rules: list[dict[str, Any]]) -> None:
    assert told(ingress(*rules)) == []


def test_what_one_policy_leaves_out_another_may_admit() -> None:
    assert told(ingress({"ports": [PORT]}), policy("mesh", ingress=[{"ports": [MESH]}])) == []
    elsewhere = policy("mesh", "bank", ingress=[{"ports": [MESH]}])
    assert told(ingress({"ports": [PORT]}), elsewhere) == BLOCKED


def test_each_policy_that_admits_the_port_is_told_once() -> None:
    first = ingress({"ports": [PORT]}, {"ports": [{"port": 9090}]}, name="first")
    second = ingress({"ports": [PORT]}, name="second")
    assert [each.subject for each in found(second, first)] == [
        "uid-first StatefulSet shop/orders",
        "uid-second StatefulSet shop/orders",
    ]


def test_the_sentence_names_policy_workload_client_and_the_rule_to_add() -> None:
    [each] = found(ingress({"ports": [PORT], "from": [WEB]}))
    assert each.sentence == (
        "NetworkPolicy shop/orders admits TCP port 8080 of StatefulSet shop/orders from StatefulSet shop/web, but not "
        "port 14008, where their sidecars meet: these connections time out (handshake_unreachable). Add to the ports "
        "of its ingress rule: {protocol: TCP, port: 14008}"
    )


def test_a_thousand_pods_of_a_workload_are_told_of_once() -> None:
    many = [
        pod(
            "shop",
            f"orders-{number}",
            labels={"app": "orders", "apps.kubernetes.io/pod-index": str(number)},
            ips=(f"10.1.{number // 250}.{number % 250}",),
            owner="StatefulSet/orders",
            ports=HTTP,
        )
        for number in range(1000)
    ]
    assert told(ingress({"ports": [PORT]}), pods=[*reversed(many), PODS[1]]) == BLOCKED


def test_a_policy_that_selects_one_pod_of_a_workload_tells_of_that_one() -> None:
    index = "apps.kubernetes.io/pod-index"
    pods = [
        pod("shop", f"orders-{number}", labels={index: number}, ips=(ip,), owner="StatefulSet/orders", ports=HTTP)
        for number, ip in (("0", "10.0.0.1"), ("1", "10.0.0.2"))
    ]
    chosen = policy("one", podSelector={"matchLabels": {index: "1"}}, ingress=[{"ports": [PORT]}])
    assert told(chosen, pods=pods) == [f"shop/orders-1 {MESH_PORT_BLOCKED}"]


def test_a_pod_alone_hinders_nobody_and_one_with_a_twin_does() -> None:
    assert told(ingress({"ports": [PORT]}), pods=PODS[:1]) == []
    twin = pod("shop", "orders-1", labels={"app": "orders"}, ips=("10.0.0.9",), owner="StatefulSet/orders", ports=HTTP)
    assert told(ingress({"ports": [PORT]}), pods=[PODS[0], twin]) == BLOCKED


def test_where_the_mode_is_disabled_nobody_opens_a_tunnel() -> None:
    off = EffectivePolicy(ports={8080: ModeRule(Mode.DISABLED)})
    assert told(ingress({"ports": [PORT]}), mode=off) == []
    assert told(ingress({"ports": [PORT, {"port": 9090}]}), mode=off) == BLOCKED


TO_ORDERS = {"to": [ORDERS]}


@pytest.mark.parametrize(
    ("rules", "blocked"),
    [
        ([{"ports": [PORT]}], True),
        ([{"ports": [{"port": "http"}], **TO_ORDERS}], True),
        ([{"ports": [PORT], "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}], True),
        ([{"ports": [PORT], **TO_ORDERS}, {"ports": [MESH], "to": [WEB]}], True),
        ([], False),
        ([{}], False),
        ([{"ports": [PORT, MESH]}], False),
        ([{"ports": [PORT, {"port": "handfast-mesh"}]}], False),
        ([{"ports": [{"port": 14009, "endPort": 14030}]}], False),
        ([{"ports": [PORT], **TO_ORDERS}, {"ports": [MESH]}], False),
        ([{"ports": [{"port": 53}, {"protocol": "UDP", "port": 53}]}], False),
        ([{"ports": [{"port": 443}]}], False),
        ([{"ports": [PORT], "to": [{"ipBlock": {"cidr": "192.168.0.0/16"}}]}], False),
    ],
)
def test_egress_is_judged_by_the_servers_that_are_there(rules: list[dict[str, Any]], blocked: bool) -> None:
    assert told(egress(*rules)) == ([f"shop/web-0 {MESH_PORT_BLOCKED}"] if blocked else [])


def test_a_client_is_told_of_each_egress_policy_once_and_by_its_own_name() -> None:
    [each] = found(egress({"ports": [PORT]}))
    assert each.sentence.startswith(
        "NetworkPolicy shop/web lets StatefulSet shop/web connect to TCP port 8080 of StatefulSet bank/safe, but not "
        "to port 14008"
    )


TO_DIRECTORY = {
    "to": [{"namespaceSelector": {"matchLabels": NAMESPACES["handfast-system"]}}],
    "ports": [{"protocol": "TCP", "port": 14010}],
}


@pytest.mark.parametrize(
    ("rules", "blocked"),
    [
        ([{"ports": [PORT, MESH]}], True),
        ([{**TO_ORDERS}], True),
        ([{**TO_ORDERS}, TO_DIRECTORY], False),
        ([{}], False),
        ([], False),
        ([{"ports": [{"port": 53}]}], False),
        ([{**TO_ORDERS}, {"to": [{"ipBlock": {"cidr": "10.96.0.10/32"}}]}], False),
        ([{**TO_ORDERS}, {"to": [{"ipBlock": {"cidr": "10.0.9.0/24"}}], "ports": [{"port": 14010}]}], False),
    ],
)
def test_a_client_that_may_speak_must_reach_the_directory(rules: list[dict[str, Any]], blocked: bool) -> None:
    answer = told(egress(*rules), directory=[DIRECTORY], service=("10.96.0.10",))
    assert answer == ([f"shop/web-0 {DIRECTORY_BLOCKED}"] if blocked else [])


def test_the_egress_rule_to_add_is_spelt_out() -> None:
    [each] = found(egress(TO_ORDERS), directory=[DIRECTORY])
    assert each.sentence.endswith(
        "Add an egress rule: {to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: handfast-system}}}]"
        ", ports: [{protocol: TCP, port: 14010}]}"
    )


@pytest.mark.parametrize(
    ("rules", "blocked"),
    [
        ([], True),
        ([{"from": [{"podSelector": {}}]}], True),
        ([{"ports": [{"port": 14443}]}], True),
        ([{"ports": [{"port": 14010}], "from": [{"namespaceSelector": {"matchLabels": NAMESPACES["shop"]}}]}], True),
        ([{"ports": [{"port": 14010}]}], False),
        ([{"ports": [{"port": 14010}], "from": [{"namespaceSelector": {}}]}], False),
        ([{}], False),
    ],
)
def test_the_operators_namespace_must_let_sidecars_reach_the_directory(
    rules: list[dict[str, Any]], blocked: bool
) -> None:
    shut = policy("shut", "handfast-system", policyTypes=["Ingress"], ingress=rules)
    answer = told(shut, directory=[DIRECTORY])
    assert answer == ([f"handfast-system/handfast-directory-0 {DIRECTORY_BLOCKED}"] if blocked else [])


def test_every_sentence_fits_into_an_event() -> None:
    long = "n" * 63
    pods = [
        pod("shop", f"{name}-0", labels={"app": name[:6]}, ips=(ip,), owner=f"StatefulSet/{name}", ports=HTTP)
        for name, ip in ((f"orders{long * 3}", "10.0.0.1"), (f"web{long * 3}", "10.0.0.2"))
    ]
    shut = policy("p" * 253, ingress=[{"ports": [PORT]}], egress=[{"ports": [PORT]}])
    for each in found(shut, pods=pods, directory=[DIRECTORY]):
        assert len(each.sentence) <= 1024
