"""Who lives at an address, by the rules of directory/index.py."""

from dataclasses import replace
from typing import Any

import pytest

from handfast_operator.directory.index import AddressIndex
from handfast_sidecar.directory.codec import encode
from handfast_sidecar.directory.messages import (
    MAX_LINE,
    AddressUpdate,
    Endpoint,
    NobodyAddress,
    PodAddress,
    ServiceAddress,
    Transport,
)
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy, Mode
from support.stores import TRUST_DOMAIN, Cluster, Object, end, endpoint_slice, modes, pod, service

A = pod("a", "10.0.0.1")
B = pod("b", "10.0.0.2")
PLAIN = pod("plain", "10.0.0.3", meshed=False)
VIP = "10.96.0.1"


def index_of(cluster: Cluster) -> AddressIndex:
    return AddressIndex(TRUST_DOMAIN, cluster.pods, cluster.services, cluster.slices, cluster.policies)


def identity(name: str) -> SpiffeId:
    return SpiffeId.of_service_account(TRUST_DOMAIN, "shop", name)


def tunnel(name: str, ip: str, port: int = 8080) -> Endpoint:
    return Endpoint(ip, port, Transport.TUNNEL, identity(name), f"uid-{name}")


def ends_of(cluster: Cluster, port: int = 80, address: str = VIP) -> tuple[Endpoint, ...]:
    answer = index_of(cluster).answer(address)
    assert isinstance(answer, ServiceAddress)
    return answer.ports[port]


# --- pods


def test_a_meshed_pod_is_reached_by_tunnel_under_its_service_accounts_identity() -> None:
    answer = index_of(Cluster(A)).answer("10.0.0.1")
    assert answer == PodAddress("10.0.0.1", "shop/a", "uid-a", Transport.TUNNEL, identity("a"))


def test_a_pod_without_sidecar_is_reached_in_plaintext() -> None:
    assert index_of(Cluster(PLAIN)).answer("10.0.0.3") == PodAddress("10.0.0.3", "shop/plain", "uid-plain")


@pytest.mark.parametrize(
    ("policy", "transport", "exceptions"),
    [
        (modes(Mode.STRICT), Transport.TUNNEL, {}),
        (modes(Mode.PERMISSIVE, p9090=Mode.STRICT), Transport.TUNNEL, {}),
        (modes(Mode.STRICT, p9090=Mode.DISABLED), Transport.TUNNEL, {9090: Transport.PLAINTEXT}),
        (modes(Mode.DISABLED, p9090=Mode.STRICT), Transport.PLAINTEXT, {9090: Transport.TUNNEL}),
        (modes(Mode.DISABLED), Transport.PLAINTEXT, {}),
    ],
)
def test_the_mode_of_each_port_decides_its_transport(
    policy: EffectivePolicy, transport: Transport, exceptions: dict[int, Transport]
) -> None:
    cluster = Cluster(A)
    cluster.policies.set(A, policy)
    answer = index_of(cluster).answer("10.0.0.1")
    assert isinstance(answer, PodAddress)
    assert (answer.transport, answer.exceptions) == (transport, exceptions)
    assert (answer.identity is None) == (Transport.TUNNEL not in {transport, *exceptions.values()})


@pytest.mark.parametrize("gone", [{"phase": "Succeeded"}, {"phase": "Failed"}, {"host_network": True}])
def test_a_pod_that_ended_or_lives_on_the_hosts_network_has_no_address(gone: dict[str, object]) -> None:
    assert index_of(Cluster(replace(A, **gone))).answer("10.0.0.1") == NobodyAddress("10.0.0.1")  # type: ignore[arg-type]


def test_a_reused_address_belongs_to_the_newest_pod_that_has_not_ended() -> None:
    cluster = Cluster(pod("old", "10.0.0.1"), pod("new", "10.0.0.1"))
    index = index_of(cluster)
    cluster.put(pod("old", "10.0.0.1", ready=True))  # a later status of the older pod changes nothing
    answer = index.answer("10.0.0.1")
    assert isinstance(answer, PodAddress)
    assert answer.uid == "uid-new"


def test_a_reused_address_does_not_belong_to_a_pod_that_is_being_deleted() -> None:
    cluster = Cluster(pod("new", "10.0.0.1"), pod("old", "10.0.0.1", deleting=True))
    answer = index_of(cluster).answer("10.0.0.1")
    assert isinstance(answer, PodAddress)
    assert answer.uid == "uid-new"


def test_a_recreated_pod_of_the_same_name_is_another_pod() -> None:
    cluster = Cluster(A)
    index = index_of(cluster)
    cluster.put(pod("a", "10.0.0.9", uid="uid-second"))
    assert index.answer("10.0.0.1") == NobodyAddress("10.0.0.1")
    assert index.pod("uid-a") is None


# --- Services


def test_a_service_is_its_ports_with_their_ready_endpoints() -> None:
    ends = [end(A), end(PLAIN), end(B, ready=False)]
    cluster = Cluster(A, B, PLAIN, service("s", VIP), endpoint_slice("s-1", "s", ends))
    assert ends_of(cluster) == (tunnel("a", "10.0.0.1"), Endpoint("10.0.0.3", 8080, uid="uid-plain"))


def test_several_slices_are_joined_by_port_name_and_each_endpoint_is_told_once() -> None:
    cluster = Cluster(
        A,
        B,
        service("s", VIP, ports=[("http", 80), ("admin", 9000)]),
        endpoint_slice("s-1", "s", [end(A)], ports=[("http", 8080), ("admin", 9001)]),
        endpoint_slice("s-2", "s", [end(A), end(B)], ports=[("http", 8080)]),
    )
    assert ends_of(cluster) == (tunnel("a", "10.0.0.1"), tunnel("b", "10.0.0.2"))
    assert ends_of(cluster, 9000) == (tunnel("a", "10.0.0.1", 9001),)


def test_a_port_without_a_ready_endpoint_is_present_and_empty() -> None:
    assert ends_of(Cluster(service("s", VIP))) == ()


def test_a_pod_being_deleted_leaves_the_endpoints_at_once() -> None:
    cluster = Cluster(A, B, service("s", VIP), endpoint_slice("s-1", "s", [end(A), end(B)]))
    cluster.put(replace(A, deleting=True))
    assert ends_of(cluster) == (tunnel("b", "10.0.0.2"),)


def test_when_no_endpoint_is_ready_those_that_still_serve_while_they_terminate_are_told() -> None:
    cluster = Cluster(A, B, PLAIN, service("s", VIP))
    ends = [end(A), end(B, ready=False), end(PLAIN, ready=False, terminating=True)]
    cluster.put(replace(A, deleting=True), endpoint_slice("s-1", "s", ends))
    assert ends_of(cluster) == (
        replace(tunnel("a", "10.0.0.1"), terminating=True),
        Endpoint("10.0.0.3", 8080, uid="uid-plain", terminating=True),
    )
    cluster.put(endpoint_slice("s-1", "s", [end(PLAIN, ready=False, terminating=True, serving=False)]))
    assert ends_of(cluster) == ()


def test_a_service_that_publishes_what_is_not_ready_is_told_what_its_slice_says() -> None:
    cluster = Cluster(A, B, replace(service("s", VIP), publishes_not_ready=True))
    cluster.put(replace(A, deleting=True), endpoint_slice("s-1", "s", [end(A, terminating=True), end(B)]))
    assert ends_of(cluster) == (tunnel("a", "10.0.0.1"), tunnel("b", "10.0.0.2"))


def test_a_local_service_says_where_each_endpoint_is_the_terminating_ones_too() -> None:
    ends = [end(A, node="node-1"), end(B, ready=False, terminating=True, node="node-2")]
    cluster = Cluster(A, B, replace(service("s", VIP), local=True), endpoint_slice("s-1", "s", ends))
    answer = index_of(cluster).answer(VIP)
    assert isinstance(answer, ServiceAddress)
    assert answer.local
    assert ends_of(cluster) == (
        replace(tunnel("a", "10.0.0.1"), node="node-1"),
        replace(tunnel("b", "10.0.0.2"), node="node-2", terminating=True),
    )


def test_hints_and_affinity_are_passed_on_and_a_node_only_where_it_matters() -> None:
    ends = [end(A, node="node-1", zones=("zone-a",), nodes=("node-1",)), end(B, node="node-2", zones=("zone-b",))]
    cluster = Cluster(A, B, replace(service("s", VIP), affinity_s=60), endpoint_slice("s-1", "s", ends))
    answer = index_of(cluster).answer(VIP)
    assert isinstance(answer, ServiceAddress)
    assert (answer.affinity, answer.local) == (60, False)
    assert ends_of(cluster) == (
        replace(tunnel("a", "10.0.0.1"), zones=("zone-a",), nodes=("node-1",)),
        replace(tunnel("b", "10.0.0.2"), zones=("zone-b",)),
    )


def test_a_service_without_a_selector_has_the_endpoints_of_its_hand_made_slices() -> None:
    cluster = Cluster(A, service("s", VIP, ports=[("", 5432)]))
    cluster.put(endpoint_slice("s-by-hand", "s", [end("192.0.2.7"), end("10.0.0.1")], ports=[("", 6432)]))
    assert ends_of(cluster, 5432) == (Endpoint("192.0.2.7", 6432), tunnel("a", "10.0.0.1", 6432))


def test_an_endpoint_whose_pod_is_not_known_yet_is_left_out_until_it_is() -> None:
    cluster = Cluster(service("s", VIP), endpoint_slice("s-1", "s", [end(A)]))
    assert ends_of(cluster) == ()
    cluster.put(A)
    assert ends_of(cluster) == (tunnel("a", "10.0.0.1"),)


def test_an_endpoint_that_names_no_pod_is_judged_by_its_address() -> None:
    cluster = Cluster(A, service("s", VIP), endpoint_slice("s-1", "s", [end("10.0.0.1"), end("192.0.2.1")]))
    assert ends_of(cluster) == (tunnel("a", "10.0.0.1"), Endpoint("192.0.2.1", 8080))


def test_a_disabled_container_port_is_plaintext_behind_a_service_too() -> None:
    cluster = Cluster(A, service("s", VIP), endpoint_slice("s-1", "s", [end(A)]))
    cluster.policies.set(A, modes(Mode.STRICT, p8080=Mode.DISABLED))
    assert ends_of(cluster) == (Endpoint("10.0.0.1", 8080, Transport.PLAINTEXT, None, "uid-a"),)


def test_each_cluster_ip_leads_to_endpoints_of_its_own_family() -> None:
    ends = endpoint_slice("s-1", "s", [end("10.0.0.1"), end("fd00::1")])
    cluster = Cluster(service("s", VIP, "fd00::ffff"), ends)
    assert [each.address for each in ends_of(cluster)] == ["10.0.0.1"]
    assert [each.address for each in ends_of(cluster, address="fd00::ffff")] == ["fd00::1"]


def test_a_headless_service_is_nobody_but_its_pods() -> None:
    cluster = Cluster(A, service("s"), endpoint_slice("s-1", "s", [end(A)]))
    assert isinstance(index_of(cluster).answer("10.0.0.1"), PodAddress)


@pytest.mark.parametrize("place", [{}, {"node": "n" * 60, "zones": ("z" * 60, "y" * 60), "nodes": ("n" * 60,)}])
def test_an_answer_is_never_longer_than_a_sidecar_reads(place: dict[str, Any]) -> None:
    pods = [pod(f"p{n}-{'x' * 200}", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(3000)]
    ends = [end(each, **place) for each in pods]
    cluster = Cluster(*pods, replace(service("s", VIP), local=True), endpoint_slice("s-1", "s", ends))
    line = encode(AddressUpdate(index_of(cluster).answer(VIP)))
    assert MAX_LINE // 2 < len(line) < MAX_LINE


# --- changes


def changes_of(cluster: Cluster) -> list[str]:
    told: list[str] = []
    AddressIndex(TRUST_DOMAIN, cluster.pods, cluster.services, cluster.slices, cluster.policies, changed=told.extend)
    told.clear()
    return told


def test_a_pods_change_touches_its_address_and_the_services_behind_which_it_is() -> None:
    cluster = Cluster(A, B, service("s", VIP), endpoint_slice("s-1", "s", [end(A)]), service("t", "10.96.0.2"))
    told = changes_of(cluster)
    cluster.put(replace(A, deleting=True))
    assert sorted(told) == ["10.0.0.1", VIP]


def test_a_pods_mere_status_touches_nothing() -> None:
    cluster = Cluster(A)
    told = changes_of(cluster)
    cluster.put(replace(A, ready=not A.ready, proxy_running=True, resource_version=10**9))
    assert told == []


def test_a_pods_policy_touches_what_its_pod_touches() -> None:
    cluster = Cluster(A, service("s", VIP), endpoint_slice("s-1", "s", [end(A)]))
    told = changes_of(cluster)
    cluster.policies.set(A, modes(Mode.DISABLED))
    assert sorted(told) == ["10.0.0.1", VIP]


def test_a_pod_that_appears_at_an_endpoints_address_touches_the_service() -> None:
    cluster = Cluster(service("s", VIP), endpoint_slice("s-1", "s", [end("10.0.0.1")]))
    told = changes_of(cluster)
    cluster.put(A)
    assert sorted(told) == ["10.0.0.1", VIP]


def test_everything_that_left_is_nobody_and_leaves_nothing_behind() -> None:
    objects: list[Object] = [
        A,
        service("s", VIP),
        endpoint_slice("s-1", "s", [end(A), end("10.9.9.9")]),
    ]
    cluster = Cluster(*objects)
    index = index_of(cluster)
    for each in objects:
        cluster.remove(each)
    assert index.answer(VIP) == NobodyAddress(VIP)
    assert index.answer("10.0.0.1") == NobodyAddress("10.0.0.1")
    left = (index._referring, index._slices, index._services, index._by_cluster_ip)
    assert not any((*left, index._pods._by_uid, index._pods._holders))
