"""A root is replaced while requests run: none of them fails, and whoever holds it up is named."""

import json
import uuid
from base64 import b64decode
from typing import Any

import pytest
from cryptography import x509

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import Workloads
from cluster.mesh import TRUST_DOMAIN, leaf_of, policy, secret_of, until
from cluster.release import Release
from cluster.stragglers import paused
from handfast_sidecar.identity.leaf import key_identifier_of

pytestmark = [pytest.mark.usefixtures("handfast"), pytest.mark.slow_on_kubernetes]
PATIENCE_S = 170.0
"""For a state to be left: the lab projects Secrets in seconds, a real kubelet within 100 s."""


@pytest.mark.timeout(500)
def test_a_root_is_replaced_and_not_one_request_fails(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace(inject=True)
    cluster.apply([policy(here, "strict", mode="Strict")])
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "orders", 8080)
    [before] = _authorities(cluster)
    with cluster.client_in_background(
        "client", here, "load", "http://orders:8080/", "--connections=4", "--until-eof", "--pause=0.01"
    ) as load:
        _ask(cluster, trigger=f"replace-{before['name']}")
        until("the new root signs", lambda: _signs(cluster) != before["name"], PATIENCE_S)
        until(
            "the old root is gone", lambda: [each["state"] for each in _authorities(cluster)] == ["Active"], PATIENCE_S
        )
        report = load.finish()
    assert report["failed"] == 0
    [after] = _authorities(cluster)
    assert after["name"] != before["name"]
    secrets = cluster.list("secrets", "handfast-system", selector="handfast.dev/authority")
    assert [each["metadata"]["name"] for each in secrets] == [after["name"]]
    assert leaf_of(secret_of(cluster, "orders", here)).issuer == key_identifier_of(_certificate(secrets[0]))
    assert _trust_domain(cluster)["status"]["rotation"]["state"] == "Idle"
    said = cluster("get", "events", "-n", "default", "-o", "json")
    reasons = {each.get("reason") for each in json.loads(said)["items"]}
    assert {"RotationStarted", "RotationFinished"} <= reasons


def test_a_straggler_is_named_and_waited_for(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here, name = namespace(inject=True), f"slow-{uuid.uuid4().hex[:8]}"
    cluster.apply_ready(workloads.pod(name, here, "http"))
    [before] = _authorities(cluster)
    with paused(name):
        _ask(cluster, trigger=f"after-{before['name']}")
        named = until("it is named", lambda: _straggler(cluster, f"{here}/{name}"), 60)
        assert named is not None
        assert named["reason"] in {"unreported", "old_bundle"}
        assert _signs(cluster) == before["name"]
    until("the new root alone", lambda: _states(cluster) == ["Active"], PATIENCE_S)
    assert _signs(cluster) != before["name"]


def _trust_domain(cluster: Cluster) -> dict[str, Any]:
    return cluster.get("trustdomain", TRUST_DOMAIN)


def _authorities(cluster: Cluster) -> list[dict[str, Any]]:
    return list(_trust_domain(cluster)["status"]["authorities"])


def _states(cluster: Cluster) -> list[str]:
    return [str(each["state"]) for each in _authorities(cluster)]


def _signs(cluster: Cluster) -> str:
    return next(str(each["name"]) for each in _authorities(cluster) if each["state"] == "Active")


def _straggler(cluster: Cluster, pod: str) -> dict[str, Any] | None:
    found = _trust_domain(cluster)["status"]["rotation"].get("stragglers") or ()
    return next((each for each in found if each["pod"] == pod), None)


def _ask(cluster: Cluster, **rotation: Any) -> None:
    cluster("patch", "trustdomain", TRUST_DOMAIN, "--type=merge", "-p", json.dumps({"spec": {"rotation": rotation}}))


def _certificate(secret: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(b64decode(secret["data"]["tls.crt"]))
