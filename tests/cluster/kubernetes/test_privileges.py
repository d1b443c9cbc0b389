"""What the operator may do, tried as its own service accounts, and what it asks of its namespace."""

import subprocess

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.workloads import Workloads
from cluster.release import Release


def acting_as(handfast: Release, account: str) -> str:
    return f"--as=system:serviceaccount:{handfast.namespace}:{account}"


def may(cluster: Cluster, who: str, *words: str) -> bool:
    """`kubectl auth can-i`, which exits with 1 for a no."""
    done = subprocess.run(
        cluster.command("kubectl", "auth", "can-i", *words, who),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.stdout.strip() == "yes"


@pytest.mark.parametrize("account", ["handfast-webhook", "handfast-directory"])
def test_only_the_controller_may_read_secrets(cluster: Cluster, handfast: Release, account: str) -> None:
    assert may(cluster, acting_as(handfast, "handfast-controller"), "list", "secrets", "--all-namespaces")
    assert not may(cluster, acting_as(handfast, account), "get", "secrets", "--all-namespaces")
    assert not may(cluster, acting_as(handfast, account), "create", "pods", "--all-namespaces")


def test_the_controller_may_write_no_secret_without_our_label(
    cluster: Cluster, handfast: Release, namespace: NamespaceFactory
) -> None:
    here = namespace()
    cluster("create", "secret", "generic", "theirs", "-n", here, "--from-literal=a=b")
    controller = acting_as(handfast, "handfast-controller")
    for words in (
        ("create", "secret", "generic", "mine", "--from-literal=a=b"),
        ("patch", "secret", "theirs", "-p", '{"stringData":{"a":"c"}}'),
        ("delete", "secret", "theirs"),
    ):
        with pytest.raises(ClusterError, match="only Secrets that carry its own label"):
            cluster(*words, "-n", here, controller)
    cluster("label", "secret", "theirs", "handfast.dev/identity=true", "-n", here)
    cluster("patch", "secret", "theirs", "-p", '{"stringData":{"a":"c"}}', "-n", here, controller)


def test_the_operator_satisfies_the_restricted_pod_security_standard(cluster: Cluster, handfast: Release) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    done = subprocess.run(
        cluster.command("kubectl", "label", "--dry-run=server", "--overwrite", "namespace", handfast.namespace, label),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert "violate" not in done.stderr, done.stderr


def test_a_pod_where_net_admin_is_forbidden_is_refused_with_the_way_out(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True, labels={"pod-security.kubernetes.io/enforce": "restricted"})
    with pytest.raises(ClusterError, match="forbids the capability NET_ADMIN"):
        cluster.apply([workloads.pod("orders", here, "http")])
    cluster.apply_ready(workloads.pod("orders", here, "http", labels={"handfast.dev/inject": "disabled"}))


def test_a_pod_that_runs_as_the_proxys_user_is_refused(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    with pytest.raises(ClusterError, match="runs as user 7443"):
        cluster.apply([workloads.pod("orders", here, "http", securityContext={"runAsUser": 7443})])
    cluster.apply_ready(workloads.pod("orders", here, "http"))
    debug = '{"spec":{"ephemeralContainers":[{"name":"d","image":"x","securityContext":{"runAsUser":7443}}]}}'
    with pytest.raises(ClusterError, match="runs as user 7443"):
        cluster("patch", "pod", "orders", "-n", here, "--subresource=ephemeralcontainers", "-p", debug)
