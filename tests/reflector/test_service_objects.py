"""Services, EndpointSlices and nodes: which fields are read, and what stands for those that are not there."""

from typing import Any

import pytest

from handfast_operator.cluster.objects import Node, parse_node
from handfast_operator.cluster.services import Service, ServicePort, SliceEndpoint, parse_endpoint_slice, parse_service

META = {"namespace": "shop", "name": "orders", "resourceVersion": "7"}


def service_with(**spec: Any) -> Service:
    return parse_service({"metadata": META, "spec": {"clusterIPs": ["10.96.0.1"], **spec}})


def end_with(**fields: Any) -> SliceEndpoint:
    slice_ = {"metadata": META, "endpoints": [{"addresses": ["10.0.0.1"], **fields}]}
    (end,) = parse_endpoint_slice(slice_).endpoints
    return end


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, 0),
        ({"sessionAffinity": "None", "sessionAffinityConfig": None}, 0),
        ({"sessionAffinity": "ClientIP"}, 10800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}, 60),
    ],
)
def test_affinity_is_by_client_or_not_at_all(spec: dict[str, Any], seconds: int) -> None:
    assert service_with(**spec).affinity_s == seconds


def test_traffic_is_local_and_not_ready_endpoints_are_published_only_where_the_service_says_so() -> None:
    usual = service_with(internalTrafficPolicy="Cluster")
    assert (usual.local, usual.publishes_not_ready) == (False, False)
    special = service_with(internalTrafficPolicy="Local", publishNotReadyAddresses=True)
    assert (special.local, special.publishes_not_ready) == (True, True)


def test_an_external_name_has_no_address_and_a_headless_service_neither() -> None:
    named = parse_service({"metadata": META, "spec": {"type": "ExternalName", "externalName": "db.example.com"}})
    assert (named.cluster_ips, named.ports) == ((), ())
    assert service_with(clusterIPs=["None"]).cluster_ips == ()


def test_only_tcp_ports_are_ours_and_a_single_one_may_have_no_name() -> None:
    ports = [{"port": 53, "protocol": "UDP", "name": "dns"}, {"port": 80}, {"port": 81, "name": "b", "protocol": "TCP"}]
    assert service_with(ports=ports).ports == (ServicePort("", 80), ServicePort("b", 81))


def test_an_endpoint_that_says_nothing_is_ready_and_without_place_or_hints() -> None:
    assert end_with() == SliceEndpoint("10.0.0.1", ready=True, pod_uid="")
    assert end_with(conditions={}, hints=None, nodeName=None) == end_with()


def test_an_endpoint_is_read_with_its_conditions_node_and_hints() -> None:
    end = end_with(
        conditions={"ready": False, "serving": True, "terminating": True},
        nodeName="node-1",
        hints={"forZones": [{"name": "zone-a"}, {"name": "zone-b"}], "forNodes": [{"name": "node-1"}]},
        targetRef={"kind": "Pod", "uid": "uid-a"},
    )
    zones, nodes = ("zone-a", "zone-b"), ("node-1",)
    assert end == SliceEndpoint(
        "10.0.0.1", ready=False, pod_uid="uid-a", terminating=True, node="node-1", zones=zones, nodes=nodes
    )


@pytest.mark.parametrize(
    ("labels", "zone"),
    [({"topology.kubernetes.io/zone": "zone-a", "a": "b"}, "zone-a"), ({"kubernetes.io/hostname": "node-1"}, "")],
)
def test_a_nodes_zone_is_its_label(labels: dict[str, str], zone: str) -> None:
    assert parse_node({"metadata": {"name": "node-1", "resourceVersion": "3", "labels": labels}}) == Node(
        "node-1", 3, zone
    )


def test_a_node_without_labels_has_no_zone() -> None:
    assert parse_node({"metadata": {"name": "node-1", "resourceVersion": "3"}}).zone == ""
