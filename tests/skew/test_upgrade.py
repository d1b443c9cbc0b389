"""The upgrade and its rollback on a lab of its own: real processes of both releases, in every mixture on the way.

Directory, controller and webhook of either release serve sidecars of the other one, under load; on a real Kubernetes
the same story is told in tests/cluster/kubernetes/test_upgrade.py.
"""

import re
from collections.abc import Iterator

import pytest
import yaml

from cluster import lab
from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory, namespaces
from cluster.kube.manifests import Manifest, to_text
from cluster.lab.provided import MANIFEST
from cluster.release import DEPLOYMENTS, NAMESPACE, Release
from cluster.upgrading import Story
from handfast_lab.images import SIDECAR
from support.previous import Previous, unpack


class LabUpgrade:
    """The rendered charts, applied one over the other as Helm does it."""

    def __init__(self, cluster: Cluster, release: Release, previous: Previous) -> None:
        self._cluster, self._release = cluster, release
        images = re.compile(r'"handfast/(operator|sidecar):')
        self._previous = _documents(images.sub(r'"previous/\1:', previous.manifest))
        self._ours = _documents(MANIFEST.read_text())
        self.sidecars = _sidecar(self._previous), _sidecar(self._ours)
        assert self.sidecars[1].startswith(SIDECAR)

    def install_previous(self) -> None:
        self._cluster("create", "namespace", NAMESPACE)
        self._apply(self._previous)

    def upgrade(self) -> None:
        self._apply(self._ours)

    def roll_back(self) -> None:
        # Helm leaves the resources' definitions as the upgrade made them.
        self._apply([each for each in self._previous if each["kind"] != "CustomResourceDefinition"])

    def _apply(self, objects: list[Manifest]) -> None:
        self._cluster("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=to_text(objects))
        for each in DEPLOYMENTS:
            self._cluster("rollout", "status", f"deployment/{each}", f"--namespace={NAMESPACE}", "--timeout=60s")
        self._release.wait_working()


def _documents(text: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(text) if each]


def _sidecar(objects: list[Manifest]) -> str:
    """The image that the webhook gives to pods."""
    [webhook] = [each for each in objects if each["kind"] == "Deployment" and "webhook" in each["metadata"]["name"]]
    [container] = webhook["spec"]["template"]["spec"]["containers"]
    [image] = [each["value"] for each in container["env"] if each["name"] == "HANDFAST_SIDECAR_IMAGE"]
    return str(image)


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Previous:
    return unpack(tmp_path_factory.mktemp("previous"))


@pytest.fixture
def cluster(previous: Previous) -> Iterator[Cluster]:
    """A lab with the programs of both releases."""
    with lab.started({"previous/operator": previous.operator, "previous/sidecar": previous.sidecar}) as started:
        yield started


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[NamespaceFactory]:
    yield from namespaces(cluster)


@pytest.mark.timeout(600)
def test_an_upgrade_and_its_rollback_fail_no_request(
    cluster: Cluster, namespace: NamespaceFactory, previous: Previous
) -> None:
    upgrade = LabUpgrade(cluster, cluster.release(), previous)
    reports = Story(cluster, cluster.workloads, namespace, upgrade).run(streams=False)
    assert {name: each["failed"] for name, each in reports.items()} == dict.fromkeys(reports, 0), reports
    assert all(each["requests"] > 20 for each in reports.values()), "the load ran all the time"
