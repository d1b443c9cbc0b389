"""A real etcd from a copy, under a real API server; tests/cluster/lab/test_restore.py shows it in more ways."""

from pathlib import Path

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.etcd import Etcd
from cluster.kube.sandbox import Sandbox
from cluster.kube.workloads import PORTS, Workloads
from cluster.mesh import leaf_of, loaded_until, policy, secret_name, secret_of, until
from cluster.release import Release

HTTP = PORTS["http"]
SETTLED_S = 150
"""kubelet brings the Secret of then within 100 s."""


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_what_holds_is_what_the_restored_etcd_says_and_it_can_be_changed_again(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory, tmp_path: Path
) -> None:
    sandbox = cluster.node
    assert isinstance(sandbox, Sandbox)
    etcd, here = Etcd(sandbox), namespace("restored", inject=True)
    cluster.apply_ready(*workloads.server("apart", here, "http"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "apart", HTTP)
    serial = _serial(cluster, here)
    etcd.save(tmp_path / "copy")
    closed = policy(here, "closed", selector={"matchLabels": {"app": "apart"}}, deny=[{"from": [{"namespace": here}]}])
    cluster.apply([closed])
    until("it holds", lambda: not _reaches(cluster, here))
    cluster.delete("secret", secret_name(cluster.get("pod", "apart", here)), here)
    until("the leaf is another one", lambda: _serial(cluster, here) not in ("", serial), 60)
    etcd.restore(tmp_path / "copy", lambda: cluster("get", "--raw", "/readyz") == "ok")
    until("the policy of then holds", lambda: _reaches(cluster, here), SETTLED_S)
    assert _serial(cluster, here) == serial
    ends = leaf_of(secret_of(cluster, "apart", here)).not_after.timestamp()
    until("the leaf of then is in use", lambda: loaded_until(cluster, "apart", here) == int(ends), SETTLED_S)
    handfast.wait_working()
    cluster.apply([closed])
    until("the next policy holds", lambda: not _reaches(cluster, here), 60)
    cluster.delete("mtlspolicy", "closed", here)
    until("and goes", lambda: _reaches(cluster, here), 60)
    cluster.apply_ready(workloads.pod("later", here, "http"), timeout_s=SETTLED_S)


def _serial(cluster: Cluster, namespace: str) -> str:
    """Of the leaf in the Secret; empty while there is none."""
    try:
        return leaf_of(secret_of(cluster, "apart", namespace)).serial
    except (ClusterError, KeyError, ValueError):
        return ""


def _reaches(cluster: Cluster, namespace: str) -> bool:
    """An answer of the server; kubectl itself fails while kubelet starts."""
    words = ["load", f"http://apart:{HTTP}/", "--requests=1", "--close", "--timeout=5"]
    try:
        return bool(cluster.client("client", namespace, *words)["failed"] == 0)
    except ClusterError:
        return False
