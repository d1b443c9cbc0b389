"""How many sidecars do what they should, as numbers."""

from dataclasses import replace
from datetime import timedelta

import pytest

from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller.sidecar_counts import SidecarCounts, state_of
from handfast_operator.evidence.view import EvidenceView, PodReport
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy
from handfast_sidecar.observe.metrics import Registry
from support.objects import pod
from support.virtual_time import VirtualTime

NOW = 10_000.0
ENABLED = {"handfast.dev/inject": "enabled"}
MESHED = pod("shop", "cart")


def report(at: float) -> PodReport:
    return PodReport("shop/cart", "spiffe://cluster.local/ns/shop/sa/default", at, "01", "", "", 1)


@pytest.mark.parametrize(
    ("found", "heard", "state"),
    [
        (MESHED, NOW - 10, "reporting"),
        (MESHED, NOW - 61, "silent"),
        (MESHED, None, "silent"),
        (replace(MESHED, proxy_running=False), None, "starting"),
        (pod("shop", "old", meshed=False), None, "without_sidecar"),
        (pod("shop", "node-agent", meshed=False, host_network=True), None, None),
        (pod("shop", "done", phase="Succeeded"), None, None),
        (pod("shop", "going", deleting=True), None, None),
    ],
)
def test_a_pod_that_opted_in_is_counted_by_how_its_sidecar_does(found: Pod, heard: float | None, state: str) -> None:
    said = None if heard is None else report(heard)
    assert state_of(found, ENABLED, "handfast-system", said, NOW) == state


def test_a_pod_that_did_not_opt_in_is_not_counted() -> None:
    assert state_of(pod("shop", "old", meshed=False), {}, "handfast-system", None, NOW) is None


async def test_the_numbers_follow_the_cluster() -> None:
    pods, namespaces, time = Store[Pod](), Store[Namespace](), VirtualTime()
    index = PolicyIndex(pods, namespaces, Store[MtlsPolicy](), Store[ClusterMtlsPolicy](), "cluster.local")
    registry, said = Registry(), dict[str, PodReport]()
    counts = SidecarCounts(
        pods, index, lambda: EvidenceView(0, pods=said), "handfast-system", "handfast/sidecar:new", registry, time
    )
    pods.put(MESHED)
    await counts.look()
    assert 'handfast_pods{state="silent"} 1' in registry.render()
    assert "handfast_old_sidecars 1" in registry.render()
    said[MESHED.uid] = report((time.now() - timedelta(seconds=5)).timestamp())
    await counts.look()
    assert 'handfast_pods{state="reporting"} 1' in registry.render()
    assert 'handfast_pods{state="silent"} 0' in registry.render()
