"""etcd is restored from a copy, with the revisions of then: what was issued since then works on, nobody has to help.

Each test saves, changes something, restores, and looks whether every pod comes to have what the restored objects ask
for, under load. The API server gives revisions a second time, as the real one does when they are not raised by hand.
"""

import uuid
from collections.abc import Iterator

import pytest

from cluster.conftest import NamespaceFactory
from cluster.driving import EVERYBODY, Driving
from cluster.kube.errors import ClusterError
from cluster.kube.workloads import PORTS, Workloads
from cluster.lab import Lab
from cluster.mesh import expiries_loaded, leaf_of, policy, secret_name, until
from cluster.release import Release
from cluster.rotations import kept, roots, signing, steer, until_replaced
from cluster.stragglers import paused
from handfast_sidecar.identity.leaf import Leaf

pytestmark = pytest.mark.timeout(300)
HTTP = PORTS["http"]


@pytest.fixture(scope="module")
def load(
    cluster: Lab, handfast: Release, workloads: Workloads, module_namespace: NamespaceFactory
) -> Iterator[Driving]:
    """One for all of these tests."""
    yield Driving.begin_strict(cluster, workloads, module_namespace)
    # The controller ends itself with each restored history, and its container is started again later and later.
    handfast.replace_pods()


def test_leaves_that_were_renewed_since_then_give_way_to_those_of_then(lab: Lab, load: Driving) -> None:
    lab.save("before")
    before = serials(lab, load.namespace)
    lab.apply([policy(load.namespace, "short", mode="Strict", certificate={"ttl": "2h"})])
    until("all are renewed", lambda: set(serials(lab, load.namespace).values()).isdisjoint(before.values()), 60)
    everybody_has_his_leaf(lab, load.namespace)
    load.goes_on()
    lab.restore("before")
    everybody_has_his_leaf(lab, load.namespace)
    assert serials(lab, load.namespace) == before
    load.goes_on()


def test_pods_come_back_that_were_deleted_and_those_made_since_then_go(
    lab: Lab, load: Driving, workloads: Workloads
) -> None:
    here = load.namespace
    lab.apply_ready(*workloads.server("deleted", here, "http"))
    lab.save("before")
    lab.delete("pod", "deleted", here)
    lab.apply_ready(workloads.pod("made", here, "http"))
    lab.restore("before")
    with pytest.raises(ClusterError, match="not found"):
        lab.get("pod", "made", here)
    until("it runs again", lambda: reaches(lab, "reaching", here, "deleted"), 60)
    lab.delete("pod", "deleted", here)
    load.goes_on()
    lab.apply_ready(workloads.pod("made", here, "http"))
    until("a new one is reached", lambda: reaches(lab, "reaching", here, lab.address_of("made", here)), 60)
    lab.delete("pod", "made", here)


def test_a_policy_that_was_changed_since_then_is_the_one_of_then_and_can_be_changed_again(
    lab: Lab, load: Driving, workloads: Workloads
) -> None:
    """Sidecars have seen higher revisions than any that the restored server has."""
    here = load.namespace
    closed = policy(here, "closed", selector={"matchLabels": {"app": "apart"}}, deny=[{"from": [{"namespace": here}]}])
    lab.apply_ready(*workloads.server("apart", here, "http"))
    lab.wait_reachable("reaching", here, "apart", HTTP)
    lab.save("before")
    lab.apply([closed])
    until("it holds", lambda: not reaches(lab, "reaching", here, "apart"))
    lab.restore("before")
    until("the one of then holds", lambda: reaches(lab, "reaching", here, "apart"), 60)
    lab.apply([closed])
    until("the next one holds", lambda: not reaches(lab, "reaching", here, "apart"))
    lab.delete("mtlspolicy", "closed", here)
    until("and goes", lambda: reaches(lab, "reaching", here, "apart"))
    load.goes_on()


def test_in_the_middle_of_a_rotation_it_goes_on_from_there(
    lab: Lab, handfast: Release, load: Driving, workloads: Workloads
) -> None:
    here, run = load.namespace, uuid.uuid4().hex[:6]
    still = f"still-{run}"
    lab.apply_ready(workloads.pod(still, here))
    old = signing(lab)
    with paused(still):
        steer(lab, trigger=run)
        until("it waits", lambda: roots(lab).named == {f"{here}/{still}"}, 60)
        lab.save("middle")
        steer(lab, paused=True)
    until("everybody trusts the new one", lambda: not roots(lab).named, 60)
    with paused(still):
        steer(lab, paused=None)
        until("another one signs", lambda: roots(lab).signing not in ([], [old]), 60)
        lab.restore("middle")
        assert kept(lab, handfast.namespace)[old] == "Active"
    until_replaced(lab, old)
    everybody_has_his_leaf(lab, here)
    load.goes_on()
    lab.delete("pod", still, here)


def test_a_root_that_was_retired_since_then_signs_again_and_everybody_comes_to_trust_it(
    lab: Lab, handfast: Release, load: Driving
) -> None:
    """The one case that costs connections: until both ends have the files of then, they trust different roots."""
    old = signing(lab)
    lab.save("before")
    steer(lab, trigger=uuid.uuid4().hex[:6])
    until_replaced(lab, old)
    load.goes_on()
    lab.restore("before")
    assert signing(lab) == old
    everybody_has_his_leaf(lab, load.namespace)
    load.forgive()
    load.goes_on()


def leaves(lab: Lab, namespace: str) -> dict[str, Leaf]:
    """Of the pods of the load, as their Secrets have them."""
    secrets = {each["metadata"]["name"]: each for each in lab.list("secrets", namespace)}
    pods = {each["metadata"]["name"]: each for each in lab.list("pods", namespace)}
    return {name: leaf_of(secrets[secret_name(pods[name])]) for name in EVERYBODY if secret_name(pods[name]) in secrets}


def serials(lab: Lab, namespace: str) -> dict[str, str]:
    return {name: leaf.serial for name, leaf in leaves(lab, namespace).items()}


def everybody_has_his_leaf(lab: Lab, namespace: str) -> None:
    """Until each sidecar has loaded the leaf of its Secret."""

    def look() -> bool:
        found, loaded = leaves(lab, namespace), expiries_loaded(lab, namespace)
        wanted = {name: int(leaf.not_after.timestamp()) for name, leaf in found.items()}
        return len(wanted) == len(EVERYBODY) and wanted.items() <= loaded.items()

    until("everybody has the leaf of his Secret", look, 60)


def reaches(lab: Lab, pod: str, namespace: str, host: str) -> bool:
    words = ["load", f"http://{host}:{HTTP}/", "--requests=1", "--close", "--timeout=5"]
    return bool(lab.client(pod, namespace, *words)["failed"] == 0)
