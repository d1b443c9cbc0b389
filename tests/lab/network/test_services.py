"""Cluster IPs and names, from Services and EndpointSlices alone."""

from ipaddress import ip_address
from typing import Any

import dns.message
import dns.rcode

from handfast_lab.network.dns import Names, resolv_conf, zone
from handfast_lab.network.endpoints import join
from handfast_lab.network.services import render

Json = dict[str, Any]


def service(name: str = "cart", **spec: Any) -> Json:
    fields = {"clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"], "ports": [{"name": "http", "port": 80}]}
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": fields | spec}


def slice_of(name: str, *addresses: str, ready: bool = True, hostname: str = "") -> Json:
    return {
        "metadata": {"name": f"{name}-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [
            {"addresses": [each], "conditions": {"ready": ready}, "hostname": hostname} for each in addresses
        ],
    }


def test_a_connection_goes_to_one_of_the_endpoints() -> None:
    rules = render(join([service()], [slice_of("cart", "10.244.0.7", "10.244.0.8")]))
    assert (
        "ip daddr 10.96.0.20 tcp dport 80 dnat ip to"
        " numgen random mod 2 map { 0 : 10.244.0.7 . 8080, 1 : 10.244.0.8 . 8080 }" in rules
    )


def test_a_service_without_a_ready_endpoint_refuses() -> None:
    rules = render(join([service()], [slice_of("cart", "10.244.0.7", ready=False)]))
    assert "ip daddr 10.96.0.20 tcp dport 80 reject with tcp reset" in rules
    assert "10.244.0.7" not in rules


def test_a_headless_service_needs_no_rules() -> None:
    rules = render(join([service(clusterIP="None", clusterIPs=["None"])], [slice_of("cart", "10.244.0.7")]))
    assert "10.244.0.7" not in rules


def test_a_service_has_a_name_and_a_headless_one_those_of_its_pods() -> None:
    headless = service("db", clusterIP="None", clusterIPs=["None"])
    names = zone(join([service(), headless], [slice_of("db", "10.244.0.9", hostname="db-0")]))
    assert {str(name): {str(each) for each in found} for name, found in names.items()} == {
        "cart.shop.svc.cluster.local.": {"10.96.0.20"},
        "db.shop.svc.cluster.local.": {"10.244.0.9"},
        "db-0.db.shop.svc.cluster.local.": {"10.244.0.9"},
    }


def test_a_name_without_an_address_of_the_family_is_no_error_and_an_unknown_one_is() -> None:
    names = Names(api=None)  # type: ignore[arg-type]
    names._zone = zone(join([service()], []))

    def ask(name: str, kind: str) -> tuple[str, list[str]]:
        answer = names.answer(dns.message.make_query(name, kind))
        return dns.rcode.to_text(answer.rcode()), [str(each) for found in answer.answer for each in found]

    assert ask("cart.shop.svc.cluster.local", "A") == ("NOERROR", ["10.96.0.20"])
    assert ask("cart.shop.svc.cluster.local", "AAAA") == ("NOERROR", [])
    assert ask("elsewhere.example", "A") == ("NXDOMAIN", [])


def test_a_pod_finds_the_services_of_its_namespace_by_their_short_names() -> None:
    assert "search shop.svc.cluster.local svc.cluster.local cluster.local" in resolv_conf("shop")


def test_addresses_are_unique_and_come_back() -> None:
    from ipaddress import IPv4Network

    from handfast_lab.network.addresses import Addresses

    addresses = Addresses(IPv4Network("10.0.0.0/30"), first=1)
    assert [addresses.take(), addresses.take()] == [ip_address("10.0.0.1"), ip_address("10.0.0.2")]
    addresses.give_back(ip_address("10.0.0.1"))
    assert addresses.take() == ip_address("10.0.0.1")
