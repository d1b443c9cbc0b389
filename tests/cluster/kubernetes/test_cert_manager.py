"""cert-manager keeps the issuer, as docs/certificates.md has it: it signs, is renewed, and no request fails."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from cluster import cert_manager
from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.issuers import (
    NAME,
    PATIENCE_S,
    SECRET_REF,
    SELF_SIGNED,
    chain_in,
    choose_issuer,
    condition,
    signing,
    until_signs,
)
from cluster.kube.workloads import Workloads
from cluster.mesh import policy, secret_of, until
from cluster.release import Release

GUIDE = Path(__file__).parents[3] / "docs" / "certificates.md"


def manifests() -> str:
    """What the guide tells a user of cert-manager to apply: the first block of its section."""
    section = GUIDE.read_text().partition("### With cert-manager")[2]
    blocks = [each for each in section.split("\n\n") if each.startswith("    apiVersion")]
    return dedent(blocks[0])


@pytest.fixture
def certified(cluster: Cluster, handfast: Release) -> Iterator[None]:
    """cert-manager, with what the guide has."""
    with cert_manager.running(cluster, handfast.namespace):
        cluster.apply(manifests())
        cluster.wait("certificate", NAME, "condition=Ready", handfast.namespace)
        yield
        choose_issuer(cluster, SELF_SIGNED)


@pytest.mark.slow_on_kubernetes
@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("certified")
def test_cert_managers_intermediate_signs_and_is_renewed_and_not_one_request_fails(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here, system = namespace(inject=True), handfast.namespace
    cluster.apply([policy(here, "strict", mode="Strict")])
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "orders", 8080)
    issued = cluster.get("secret", NAME, system)
    [first], root = chain_in(issued), chain_in(issued, "ca.crt")
    with cluster.client_in_background(
        "client", here, "load", "http://orders:8080/", "--connections=4", "--until-eof", "--pause=0.01"
    ) as load:
        choose_issuer(cluster, SECRET_REF)
        until("cert-manager's certificate signs", lambda: signing(cluster, system) == first, PATIENCE_S)
        assert condition(cluster)["status"] == "True"
        # It grows old enough to sign while the roots from before still drain.
        cert_manager.renew(cluster, NAME, system)
        until("it is renewed", lambda: chain_in(cluster.get("secret", NAME, system)) != [first], 60)
        [second] = chain_in(cluster.get("secret", NAME, system))
        until_signs(cluster, second, ("orders", here), ("client", here))
        report = load.finish()
    assert report["failed"] == 0
    assert first.public_key() != second.public_key()
    secret = secret_of(cluster, "orders", here)
    assert chain_in(secret)[1:] == [second]
    assert chain_in(secret, "ca.crt") == root
