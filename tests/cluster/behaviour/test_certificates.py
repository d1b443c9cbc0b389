"""The Secret of each pod, and certificates that rotate under traffic without anybody noticing."""

from base64 import b64decode, b64encode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.workloads import Workloads
from cluster.mesh import identity_of, leaf_of, policy, secret_name, secret_of, until
from cluster.release import Release

pytestmark = pytest.mark.usefixtures("handfast")


def test_the_secret_of_a_pod_holds_one_identity_and_goes_with_the_pod(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(workloads.pod("orders", here, "http"))
    pod, secret = cluster.get("pod", "orders", here), secret_of(cluster, "orders", here)
    certificate = x509.load_pem_x509_certificate(b64decode(secret["data"]["tls.crt"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [identity_of(here)]
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    key = load_pem_private_key(b64decode(secret["data"]["tls.key"]), None)
    assert key.public_key() == certificate.public_key()
    assert leaf_of(secret).pod_uid == pod["metadata"]["uid"]
    [owner] = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Pod", pod["metadata"]["uid"])
    assert secret["metadata"]["labels"]["handfast.dev/identity"] == "true"
    cluster.delete("pod", "orders", here)
    cluster.wait("secret", secret["metadata"]["name"], "delete", here)


def test_only_the_sidecar_can_read_the_key_and_no_sidecar_has_an_api_token(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(workloads.pod("orders", here, "http"))
    spec = cluster.get("pod", "orders", here)["spec"]
    for container in spec["containers"]:
        assert not any(mount["name"] == "handfast-identity" for mount in container.get("volumeMounts", ()))
    tokens = {each["name"] for each in spec["volumes"] if "projected" in each}
    for container in spec["initContainers"]:
        assert not any(mount["name"] in tokens for mount in container["volumeMounts"])


def test_a_deleted_and_a_damaged_secret_are_repaired(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(workloads.pod("orders", here, "http"))
    name = secret_name(cluster.get("pod", "orders", here))
    serial = leaf_of(cluster.get("secret", name, here)).serial
    cluster.delete("secret", name, here)
    until("a new Secret", lambda: _serial(cluster, name, here) not in {"", serial})
    serial = _serial(cluster, name, here)
    rubbish = b64encode(b"rubbish").decode()
    cluster("patch", "secret", name, "-n", here, "--type=merge", "-p", f'{{"data":{{"tls.key":"{rubbish}"}}}}')
    until("the key repaired", lambda: _serial(cluster, name, here) not in {"", serial})


def test_a_secret_of_somebody_else_is_never_overwritten(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(workloads.pod("orders", here, "http"))
    name = secret_name(cluster.get("pod", "orders", here))
    foreign = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": here},
        "stringData": {"mine": "alone"},
    }
    cluster.delete("pod", "orders", here)
    cluster.wait("secret", name, "delete", here)
    cluster.apply([foreign])
    taken = workloads.pod("orders", here, "http")
    taken["spec"]["volumes"] = [{"name": "handfast-identity", "secret": {"secretName": name}}]
    cluster.apply([taken])
    chosen = secret_name(cluster.get("pod", "orders", here))
    if chosen == name:
        until("an Event that names the Secret", lambda: name in cluster("get", "events", "-n", here, "-o", "yaml"))
    assert b64decode(cluster.get("secret", name, here)["data"]["mine"]) == b"alone"


@pytest.mark.alone
@pytest.mark.timeout(400)
def test_the_operator_killed_and_started_again_mints_nothing_twice(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply([policy(here, "strict", mode="Strict")])
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "orders", 8080)
    serials = {name: leaf_of(secret_of(cluster, name, here)).serial for name in ("orders", "client")}
    with cluster.client_in_background(
        "client", here, "load", "http://orders:8080/", "--connections=4", "--until-eof", "--pause=0.01"
    ) as load:
        handfast.replace_pods()
        cluster.apply_ready(workloads.pod("late", here, "http"))
        assert load.finish()["failed"] == 0
    assert {name: leaf_of(secret_of(cluster, name, here)).serial for name in ("orders", "client")} == serials


def _serial(cluster: Cluster, name: str, namespace: str) -> str:
    """The serial of the leaf in a Secret; empty while there is none to read."""
    try:
        return leaf_of(cluster.get("secret", name, namespace)).serial
    except (ClusterError, ValueError, KeyError):
        return ""


def test_the_secret_comes_with_the_pod(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> None:
    here = namespace(inject=True)
    cluster.apply([workloads.pod("orders", here, "http")])
    name = secret_name(cluster.get("pod", "orders", here))
    cluster.wait("secret", name, "create", here)
