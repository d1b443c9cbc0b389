"""A client without a sidecar, with an SVID of the cluster's own root, on a port that a policy opens to it."""

from pathlib import Path

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import Workloads
from cluster.mesh import access_log, authority_of, identity_of, metric, policy, until
from cluster.release import Release
from support.pki import Issued, TestAuthority, write_files

WHO = identity_of("outside", "legacy")
HTTP = 8080


@pytest.fixture(scope="module")
def shop(cluster: Cluster, handfast: Release, workloads: Workloads, module_namespace: NamespaceFactory) -> str:
    """A namespace under Strict whose server is open to foreign clients."""
    here = module_namespace("foreign", inject=True)
    cluster.apply([policy(here, "open", mode="Strict", foreign={"ports": [HTTP]})])
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "orders", HTTP)
    return here


def curl(cluster: Cluster, namespace: str, folder: Path, issued: Issued | None) -> str:
    """The HTTP status that curl got from the node's network, or 000."""
    words = ["curl", "--silent", "--insecure", "--output", "/dev/null", "--write-out", "%{http_code}"]
    if issued is not None:
        certificate, key, _bundle = write_files(folder, issued)
        words += ["--cert", str(certificate), "--key", str(key)]
    words.append(f"https://{cluster.address_of('orders', namespace)}:{HTTP}/")
    return cluster.on_node("sh", "-c", '"$@" || true', "sh", *words)


def test_a_client_without_a_sidecar_is_served_and_stands_in_the_log_by_its_identity(
    cluster: Cluster, handfast: Release, shop: str, tmp_path: Path
) -> None:
    issued = authority_of(cluster, handfast.namespace).issue(WHO)
    until("curl is served", lambda: curl(cluster, shop, tmp_path, issued) == "200")
    [line] = until(
        "its line is written", lambda: [each for each in access_log(cluster, "orders", shop) if each["peer"] == WHO]
    )
    assert (line["verdict"], line["tls"]["version"], line["rule"]) == ("allowed", "TLSv1.3", f"MTLSPolicy {shop}/open")


@pytest.mark.parametrize(
    ("issued", "reason"),
    [(None, "handshake_no_certificate"), (TestAuthority("cluster.local").issue(WHO), "handshake_untrusted")],
    ids=["no certificate", "another root"],
)
def test_a_client_that_cannot_prove_who_it_is_is_refused_and_counted(
    cluster: Cluster, shop: str, tmp_path: Path, issued: Issued | None, reason: str
) -> None:
    def refused() -> float:
        return metric(cluster, "orders", shop, "handfast_denied_total", direction="in", reason=reason)

    before = refused()
    assert curl(cluster, shop, tmp_path, issued) == "000"
    until("it is counted", lambda: refused() == before + 1)
