"""docs/install.md, typed as it stands there on a Kubernetes without Handfast: from `helm install` to `helm uninstall`.

With `--write` docs/first-hour.md is written anew from it (make first-hour).
"""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.first_hour import INSTALL, PAGE, Step, render
from cluster.kube.node import ctr
from cluster.kube.release import HelmRelease
from cluster.kube.sandbox import Sandbox
from cluster.kube.workloads import PORTS, Workloads
from cluster.mesh import until
from cluster.release import NAMESPACE, Release
from handfast_sidecar import __version__
from support.typist import Typist, section

SECTIONS: Final = ("Install it", "Let a namespace join", "Close the door", "Uninstalling")
HTTP: Final = PORTS["http"]


@pytest.fixture
def without_handfast(cluster: Cluster, handfast: Release) -> Iterator[HelmRelease]:
    """A cluster that has never heard of it, whose node has the images that the chart names by default."""
    assert isinstance(handfast, HelmRelease)
    assert isinstance(cluster.node, Sandbox)
    for part, image in (("operator", handfast.images.operator), ("sidecar", handfast.images.sidecar)):
        ctr(cluster.node, "images", "tag", "--force", image, f"docker.io/handfast/{part}:{__version__}")
    handfast.uninstall()
    _forget(cluster)
    yield handfast
    _forget(cluster)  # what the page installed has no name of ours
    handfast.install()


def _forget(cluster: Cluster) -> None:
    names = [each["metadata"]["name"] for each in cluster.list("customresourcedefinitions")]
    ours = [name for name in names if name.endswith(".handfast.dev")]
    if ours:
        cluster("delete", "customresourcedefinition", *ours)
    cluster("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout_s=120)


@pytest.mark.alone
@pytest.mark.timeout(500)
def test_each_command_of_the_page_does_what_the_page_says(
    cluster: Cluster,
    without_handfast: HelmRelease,
    workloads: Workloads,
    namespace: NamespaceFactory,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> None:
    shop = namespace("shop")
    for account in ("cart", "orders"):
        meta = {"name": account, "namespace": shop}
        cluster.apply([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}])
    cluster.apply_ready(
        workloads.service("orders", shop, [HTTP]),
        workloads.deployment("orders", shop, "http", serviceAccountName="orders"),
        workloads.deployment("cart", shop, serviceAccountName="cart"),
    )
    programs = {
        "kubectl": cluster.command("kubectl"),
        "helm": cluster.command("helm"),
        "handfast": [sys.executable, "-m", "handfast_operator.cli"],
    }
    typist = Typist(programs, cluster.kubeconfig, tmp_path_factory.mktemp("programs"))
    steps = []
    for title in SECTIONS:
        steps.append(Step(title, tuple(typist.type_all(section(INSTALL.read_text(), title), {"shop": shop}))))
        until(f"cart reaches orders after: {title}", lambda: _reaches(cluster, shop), 60)
        if title == "Close the door":
            assert not _reaches(cluster, _outsider(cluster, workloads, namespace), f"orders.{shop}", "pod/outsider")
    assert "handfast" not in cluster("get", "mutatingwebhookconfigurations,validatingwebhookconfigurations")
    assert all(len(pod["spec"].get("initContainers", ())) == 0 for pod in cluster.list("pods", shop))
    if request.config.getoption("--write"):
        PAGE.write_text(render(steps, _where(cluster)).replace(shop, "shop"))


def test_the_page_has_all_sections_of_a_new_users_way() -> None:
    """So that a renamed heading is noticed where there is no Kubernetes."""
    assert all(section(INSTALL.read_text(), title) for title in SECTIONS)


def _outsider(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> str:
    outside = namespace("outside")
    cluster.apply_ready(workloads.pod("outsider", outside))
    return outside


def _reaches(cluster: Cluster, namespace: str, host: str = "orders", client: str = "deployment/cart") -> bool:
    words = ("load", f"http://{host}:{HTTP}/", "--requests=1", "--close", "--timeout=5")
    return bool(cluster.client(client, namespace, *words)["failed"] == 0)


def _where(cluster: Cluster) -> str:
    version = cluster.list("nodes")[0]["status"]["nodeInfo"]["kubeletVersion"]
    helm = cluster.helm("version", "--short").strip()
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, Handfast {__version__}, Kubernetes {version} with one node, Helm {helm},"
        f" a machine with {os.cpu_count()} cores that does other things as well."
    )
