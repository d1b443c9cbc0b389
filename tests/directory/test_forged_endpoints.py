"""Services and EndpointSlices that a namespace's user writes by hand: they lead those who dial his Service to what he
names, and change nothing for anybody who dials another one.

The pods of `shop` are the victim's; `evil` is the user's own namespace.
"""

from dataclasses import replace
from typing import Any

import pytest

from handfast_operator.cluster.services import EndpointSlice, Service, parse_endpoint_slice, parse_service
from handfast_operator.directory.index import AddressIndex
from handfast_sidecar.directory.messages import Endpoint, NobodyAddress, PodAddress, ServiceAddress, Transport
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import Mode
from support.stores import TRUST_DOMAIN, Cluster, end, endpoint_slice, modes, pod, service

ORDERS = pod("orders", "10.0.0.1")
OWN_BARE = replace(pod("bare", "10.0.6.1", meshed=False), namespace="evil")
OWN_MESHED = replace(pod("mine", "10.0.6.2"), namespace="evil")
VIP, OWN_VIP = "10.96.0.1", "10.96.6.6"
SHOP = (ORDERS, service("orders", VIP), endpoint_slice("orders-1", "orders", [end(ORDERS)]))
FORGED = "forged-1"


def own_service(**changes: Any) -> Service:
    return replace(service("lure", OWN_VIP), namespace="evil", **changes)


def own_slice(of: str = "lure", *ends: Any) -> EndpointSlice:
    return replace(endpoint_slice(FORGED, of, ends), namespace="evil")


class Scene:
    """The victim's objects and the user's, and what is answered."""

    def __init__(self, *objects: Any) -> None:
        self.cluster = Cluster(*SHOP, OWN_BARE, OWN_MESHED)
        cluster = self.cluster
        self.index = AddressIndex(
            TRUST_DOMAIN, cluster.pods, cluster.services, cluster.slices, cluster.policies, changed=self._changed
        )
        self.before = {address: self.index.answer(address) for address in (VIP, "10.0.0.1", OWN_BARE.ips[0])}
        self.told: set[str] = set()
        cluster.put(*objects)

    def _changed(self, addresses: Any) -> None:
        if hasattr(self, "told"):
            self.told |= set(addresses)

    def ends(self) -> tuple[Endpoint, ...]:
        answer = self.index.answer(OWN_VIP)
        assert isinstance(answer, ServiceAddress)
        return answer.ports[80]

    def unchanged(self) -> bool:
        return self.before == {address: self.index.answer(address) for address in self.before}


ORDERS_ID = SpiffeId.of_service_account(TRUST_DOMAIN, "shop", "orders")
FORGERIES = {
    "the victim's address, no pod": (end("10.0.0.1"),),
    "the victim's address, the name of an own pod without sidecar": (end("10.0.0.1", uid=OWN_BARE.uid),),
    "the victim's address, the name of an own pod": (end("10.0.0.1", uid=OWN_MESHED.uid),),
    "the victim's pod, an own address": (end(OWN_BARE.ips[0], uid=ORDERS.uid),),
    "the victim's pod, nobody's address": (end("192.0.2.7", uid=ORDERS.uid),),
    "a pod that does not exist": (end("10.0.0.1", uid="uid-nobody"),),
    "the victim's pod as it is": (end(ORDERS),),
    "the victim's pod, as terminating": (end(ORDERS, ready=False, terminating=True),),
    "the victim's Service": (end(VIP),),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_slice_changes_no_answer_about_others_and_never_leads_to_a_meshed_pod_in_plaintext(name: str) -> None:
    scene = Scene(own_service(), own_slice("lure", *FORGERIES[name]))
    assert scene.unchanged()
    assert scene.told <= {OWN_VIP}, "nobody else's watchers are told anything"
    for each in scene.ends():
        if each.address == "10.0.0.1":
            assert (each.transport, each.identity) == (Transport.TUNNEL, ORDERS_ID)


def test_a_pod_is_believed_only_under_its_own_address() -> None:
    lies = [end("10.0.0.1", uid=OWN_BARE.uid), end("192.0.2.7", uid=ORDERS.uid), end(OWN_MESHED)]
    [left] = Scene(own_service(), own_slice("lure", *lies)).ends()
    assert left == Endpoint("10.0.6.2", 8080, Transport.TUNNEL, left.identity, OWN_MESHED.uid)


def test_another_services_address_is_no_endpoint_whoever_comes_first() -> None:
    scene = Scene(own_service(), own_slice("lure", end("10.96.0.7"), end(VIP)))
    assert [each.address for each in scene.ends()] == ["10.96.0.7"]
    scene.told.clear()
    scene.cluster.put(service("cart", "10.96.0.7"))
    assert scene.ends() == ()
    assert scene.told == {"10.96.0.7", OWN_VIP}


def test_an_own_policy_is_not_applied_to_the_victims_address() -> None:
    scene = Scene(own_service(), own_slice("lure", end("10.0.0.1", uid=OWN_MESHED.uid), end("10.0.0.1")))
    scene.cluster.policies.set(OWN_MESHED, modes(Mode.DISABLED))
    assert [each.transport for each in scene.ends()] == [Transport.TUNNEL]


def test_a_pod_that_gets_its_address_after_the_slice_is_answered_then() -> None:
    waiting = replace(pod("late", "10.0.6.9"), namespace="evil", ips=())
    scene = Scene(waiting, own_service(), own_slice("lure", end("10.0.6.9", uid=waiting.uid)))
    assert scene.ends() == ()
    scene.told.clear()
    scene.cluster.put(replace(waiting, ips=("10.0.6.9",)))
    assert [each.uid for each in scene.ends()] == [waiting.uid]
    assert OWN_VIP in scene.told


def test_a_slice_counts_for_a_service_of_its_own_namespace_alone() -> None:
    scene = Scene(own_slice("orders", end(OWN_BARE)))
    assert scene.unchanged()
    assert scene.told == set()


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIPs": ["10.96.6.6"], "externalIPs": [VIP, "10.0.0.1"]},
        {"clusterIPs": ["10.96.6.6"], "type": "LoadBalancer", "loadBalancerIP": VIP},
        {"clusterIPs": ["None"], "externalIPs": ["10.0.0.1"]},
        {"type": "ExternalName", "externalName": "orders.shop.svc.cluster.local"},
    ],
)
def test_addresses_that_a_user_may_claim_for_his_service_are_not_answered(spec: dict[str, Any]) -> None:
    meta = {"namespace": "evil", "name": "lure", "resourceVersion": "9"}
    status = {"loadBalancer": {"ingress": [{"ip": VIP}]}}
    claimed = parse_service({"metadata": meta, "spec": {"ports": [{"port": 80}], **spec}, "status": status})
    scene = Scene(claimed, own_slice("lure", end(OWN_BARE)))
    assert scene.unchanged()
    assert set(claimed.cluster_ips) <= {OWN_VIP}


def written(*addresses: str, kind: str = "IPv4") -> EndpointSlice:
    """As it comes from the API server."""
    return parse_endpoint_slice(
        {
            "metadata": {
                "namespace": "evil",
                "name": FORGED,
                "resourceVersion": "9",
                "labels": {"kubernetes.io/service-name": "lure"},
            },
            "addressType": kind,
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": [address]} for address in addresses],
        }
    )


@pytest.mark.parametrize("address", ["010.0.0.1", "::ffff:10.0.0.1", "orders.shop.svc", "10.0.0.1%eth0", ""])
def test_an_address_written_so_that_nobody_can_tell_whose_it_is_is_left_out(address: str) -> None:
    assert Scene(own_service(), written(address)).ends() == ()


def test_an_address_in_another_form_is_still_the_victims() -> None:
    dual = replace(ORDERS, ips=("10.0.0.1", "fd00::1"))
    scene = Scene(dual, own_service(cluster_ips=(OWN_VIP, "fd00:96::6")), written("fd00:0::0001", kind="IPv6"))
    answer = scene.index.answer("fd00:96::6")
    assert isinstance(answer, ServiceAddress)
    assert [(each.address, each.transport) for each in answer.ports[80]] == [("fd00::1", Transport.TUNNEL)]


def test_a_pod_on_the_hosts_network_is_nobodys_address() -> None:
    host = replace(OWN_BARE, name="host", uid="uid-host", host_network=True, ips=("10.0.0.1",))
    scene = Scene(host)
    assert scene.unchanged()
    assert isinstance(scene.index.answer("10.0.0.1"), PodAddress)
    assert scene.index.answer("203.0.113.9") == NobodyAddress("203.0.113.9")
