"""The upgrade of docs/upgrade.md on a real Kubernetes, by Helm, under load; and the way back."""

from collections.abc import Iterator

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.provided import Kubernetes
from cluster.kube.upgrade import HelmUpgrade
from cluster.kube.workloads import Workloads
from cluster.upgrading import Story


@pytest.fixture
def upgrade(cluster: Cluster) -> Iterator[HelmUpgrade]:
    """Other tests find this work tree installed afterwards, as before."""
    assert isinstance(cluster, Kubernetes)
    yield cluster.upgrade()
    cluster.release().install()


@pytest.mark.alone
@pytest.mark.slow_on_kubernetes
@pytest.mark.timeout(420)
def test_an_upgrade_and_its_rollback_fail_no_request(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, upgrade: HelmUpgrade
) -> None:
    reports = Story(cluster, workloads, namespace, upgrade).run()
    assert {name: each["failed"] for name, each in reports.items()} == dict.fromkeys(reports, 0), reports
    assert all(each["requests"] > 200 for each in reports.values()), "the load ran all the time"
