"""Root after root under load: every rotation names whom it waits for, waits, and costs nobody a request."""

import time
import uuid

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory, Record
from cluster.driving import Driving
from cluster.kube.workloads import Workloads
from cluster.mesh import policy, until
from cluster.release import Release
from cluster.rotations import BROUGHT_S, roots, signing, steer, until_replaced
from cluster.stragglers import cut_off, paused

ROTATIONS = {"lab": 10, "kubernetes": 1}
"""kubelet brings a changed Secret after up to 100 s, the lab's node at once."""
REASONS = {"unreported", "old_bundle"}


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_roots_are_replaced_under_load_and_each_time_two_stragglers_are_named_and_waited_for(
    cluster: Cluster,
    handfast: Release,
    workloads: Workloads,
    namespace: NamespaceFactory,
    pytestconfig: pytest.Config,
    record_property: Record,
) -> None:
    here, run = namespace("load", inject=True), uuid.uuid4().hex[:6]
    stands_still, is_cut_off = f"still-{run}", f"cut-{run}"
    cluster.apply([policy(here, "strict", mode="Strict")])
    cluster.apply_ready(workloads.pod(stands_still, here), workloads.pod(is_cut_off, here))
    load = Driving.begin(cluster, workloads, here)
    stragglers = {f"{here}/{stands_still}", f"{here}/{is_cut_off}"}
    old = signing(cluster)
    for number in range(ROTATIONS[pytestconfig.getoption("--platform")]):
        began = time.monotonic()
        with paused(stands_still), cut_off(is_cut_off):
            steer(cluster, trigger=f"{run}-{number}")
            until("both are named, and nobody else", lambda: roots(cluster).named == stragglers, BROUGHT_S)
            load.goes_on()
            found = roots(cluster)
            assert found.signing == [old], "it waits"
            assert found.rotation["waiting"] == len(stragglers)
            assert {each["reason"] for each in found.rotation["stragglers"]} <= REASONS
            waited = time.monotonic()
        old = until_replaced(cluster, old)
        figures = {
            "until_both_were_named_s": round(waited - began, 1),
            "to_its_end_s": round(time.monotonic() - waited, 1),
        }
        record_property("rotation", figures)
    load.goes_on()
    record_property("rotations", {"requests": load.finish(), "failed": 0})
