"""Somebody else's authority signs: taken over and renewed while requests run, and refused when it is bad."""

import pytest
from cryptography import x509

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.issuers import (
    SECRET_REF,
    SELF_SIGNED,
    chain_in,
    choose_issuer,
    condition,
    put_secret,
    signer,
    until_signs,
)
from cluster.kube.workloads import Workloads
from cluster.mesh import policy, secret_of, until
from cluster.release import Release
from support.issuers import make_ca

pytestmark = [pytest.mark.usefixtures("handfast"), pytest.mark.slow_on_kubernetes]


@pytest.mark.timeout(1500)
def test_an_issuer_is_taken_over_renewed_refused_and_given_up_and_not_one_request_fails(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here, system = namespace(inject=True), handfast.namespace
    cluster.apply([policy(here, "strict", mode="Strict")])
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "orders", 8080)
    root = make_ca(name="somebody's root")
    between = make_ca(root, name="somebody's policy authority", path_length=1)
    first, second = (make_ca(between, name=f"issuer {number}", path_length=0) for number in "12")
    ours = (("orders", here), ("client", here))
    try:
        with cluster.client_in_background(
            "client", here, "load", "http://orders:8080/", "--connections=4", "--until-eof", "--pause=0.01"
        ) as load:
            put_secret(cluster, system, first.secret())
            choose_issuer(cluster, SECRET_REF)
            until_signs(cluster, first.certificate, *ours)
            secret = secret_of(cluster, "orders", here)
            assert chain_in(secret)[1:] == [first.certificate, between.certificate]
            until("their root alone is trusted", lambda: bundle_of(cluster, here) == [root.certificate])
            until("the status says whose it is", lambda: signer(cluster).get("source") == "secretRef")
            assert condition(cluster)["status"] == "True"

            put_secret(cluster, system, second.secret())
            until_signs(cluster, second.certificate, *ours)
            assert bundle_of(cluster, here) == [root.certificate]

            put_secret(cluster, system, make_ca(between, name="no CA", ca=False).secret())
            until("it is refused", lambda: condition(cluster).get("reason") == "NotACa")
            assert "the certificate 'CN=no CA' is no CA" in condition(cluster)["message"]
            assert "IssuerRefused" in cluster("get", "events", "-n", "default")
            name = until("it signs on", lambda: str(signer(cluster).get("name", "")))
            assert chain_in(cluster.get("secret", name, system))[0] == second.certificate

            choose_issuer(cluster, SELF_SIGNED)
            until("it is given up", lambda: signer(cluster).get("source") == "selfSigned", 420)
            report = load.finish()
        assert report["failed"] == 0
        until("their root is trusted no more", lambda: root.certificate not in bundle_of(cluster, here))
    finally:
        choose_issuer(cluster, SELF_SIGNED)
        cluster.delete("secret", "handfast-issuer", system)


def bundle_of(cluster: Cluster, namespace: str) -> list[x509.Certificate]:
    """Whom the Secret of a pod tells it to trust."""
    return chain_in(secret_of(cluster, "orders", namespace), "ca.crt")
