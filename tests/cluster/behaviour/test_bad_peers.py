"""Rubbish and strangers on each port of a sidecar: each refused with its reason, and the next good connection works."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import Workloads
from cluster.mesh import TRUST_DOMAIN, authority_of, identity_of, metric, policy, proxy_log, until
from cluster.release import Release
from handfast_sidecar.wellknown import ALPN_TUNNEL, INBOUND_PORT, MESH_PORT, OUTBOUND_PORT
from support import handshake
from support.pki import Issued, TestAuthority

STRANGER = f"spiffe://{TRUST_DOMAIN}/ns/evil/sa/evil"
RUBBISH = b"\x00\xff" * 512


@pytest.fixture(scope="module")
def mesh(cluster: Cluster, handfast: Release, workloads: Workloads, module_namespace: NamespaceFactory) -> str:
    """A namespace under Strict with a server and a client."""
    here = module_namespace("peers", inject=True)
    cluster.apply([policy(here, "strict", mode="Strict")])
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "orders", 8080)
    return here


@pytest.fixture(scope="module")
def real_authority(cluster: Cluster, handfast: Release) -> TestAuthority:
    """The cluster's own root, in the hands of somebody who signs what the operator never would."""
    return authority_of(cluster, handfast.namespace)


def dial(cluster: Cluster, address: str, folder: Path, issued: Issued | None, alpn: str = ALPN_TUNNEL) -> str:
    """What became of a handshake with the mesh port, from a process in the node's network."""
    words = [sys.executable, str(Path(handshake.__file__)), address, str(MESH_PORT), alpn]
    if issued is not None:
        pair = folder / "pair.pem"
        pair.write_bytes(issued.chain_pem + issued.key_pem)
        words.append(str(pair))
    return str(json.loads(cluster.on_node(*words))["outcome"])


def cases(real: TestAuthority) -> dict[str, tuple[Issued | None, str, str]]:
    """What is presented, with which protocol, and the reason it is refused for."""
    long_ago = datetime.now(UTC) - timedelta(days=2)
    return {
        "no certificate": (None, ALPN_TUNNEL, "no_certificate"),
        "another trust domain": (TestAuthority("evil.example").issue(), ALPN_TUNNEL, "untrusted"),
        "our trust domain's name, another root": (
            TestAuthority(TRUST_DOMAIN).issue(STRANGER),
            ALPN_TUNNEL,
            "untrusted",
        ),
        "expired": (real.issue(STRANGER, not_before=long_ago, ttl=timedelta(hours=1)), ALPN_TUNNEL, "expired"),
        "a CA as a leaf": (real.issue(STRANGER, ca=True), ALPN_TUNNEL, "ca_as_leaf"),
        "no SPIFFE ID": (real.issue(uris=[]), ALPN_TUNNEL, "no_uri_san"),
        "two SPIFFE IDs": (real.issue(uris=[STRANGER, f"{STRANGER}2"]), ALPN_TUNNEL, "many_uri_sans"),
        "a foreign name signed by our root": (
            real.issue("spiffe://evil.example/ns/a/sa/b"),
            ALPN_TUNNEL,
            "wrong_trust_domain",
        ),
        "another protocol": (real.issue(STRANGER), "h2", "wrong_alpn"),
    }


CASES = tuple(cases(TestAuthority(TRUST_DOMAIN)))


@pytest.mark.parametrize("name", CASES)
def test_a_stranger_is_refused_with_a_reason_and_the_next_good_connection_works(
    cluster: Cluster, mesh: str, real_authority: TestAuthority, tmp_path: Path, name: str
) -> None:
    issued, alpn, reason = cases(real_authority)[name]
    before = metric(cluster, "orders", mesh, "handfast_handshake_failures_total", side="server", reason=reason)
    assert dial(cluster, cluster.address_of("orders", mesh), tmp_path, issued, alpn) == "refused"
    until(
        f"the reason {reason} is counted",
        lambda: (
            metric(cluster, "orders", mesh, "handfast_handshake_failures_total", side="server", reason=reason)
            == before + 1
        ),
    )
    refusals = [line for line in proxy_log(cluster, "orders", mesh) if line["message"] == "tunnel refused"]
    assert refusals[-1]["reason"] == reason
    assert refusals[-1]["detail"]
    _next_good_connection_works(cluster, mesh)


@pytest.mark.parametrize("port", [OUTBOUND_PORT, INBOUND_PORT, MESH_PORT])
def test_rubbish_on_a_port_of_the_sidecar_costs_its_sender_the_connection(
    cluster: Cluster, mesh: str, port: int
) -> None:
    address = cluster.address_of("orders", mesh)
    counter = {
        MESH_PORT: ("handfast_handshake_failures_total", {"side": "server", "reason": "not_tls"}),
        INBOUND_PORT: ("handfast_denied_total", {"direction": "in", "reason": "reserved_port"}),
        OUTBOUND_PORT: ("handfast_denied_total", {"direction": "in", "reason": "reserved_port"}),
    }[port]
    before = metric(cluster, "orders", mesh, counter[0], **counter[1])
    words = [sys.executable, str(Path(handshake.__file__)), address, str(port), "--send", RUBBISH.hex()]
    assert json.loads(cluster.on_node(*words))["outcome"] == "refused"
    until("it is counted", lambda: metric(cluster, "orders", mesh, counter[0], **counter[1]) > before)
    _next_good_connection_works(cluster, mesh)


def test_rubbish_on_the_admin_port_is_a_bad_request(cluster: Cluster, mesh: str) -> None:
    address = cluster.address_of("orders", mesh)
    words = [sys.executable, str(Path(handshake.__file__)), address, "14020", "--send", RUBBISH.hex()]
    json.loads(cluster.on_node(*words))
    until("it is counted", lambda: metric(cluster, "orders", mesh, "handfast_admin_bad_requests_total") > 0)
    _next_good_connection_works(cluster, mesh)


def test_a_good_certificate_is_accepted_by_the_same_client(
    cluster: Cluster, mesh: str, real_authority: TestAuthority, tmp_path: Path
) -> None:
    good = real_authority.issue(identity_of(mesh))
    assert dial(cluster, cluster.address_of("orders", mesh), tmp_path, good) == "accepted"


def _next_good_connection_works(cluster: Cluster, namespace: str) -> None:
    report = cluster.client("client", namespace, "load", "http://orders:8080/", "--requests=2", "--close")
    assert report["failed"] == 0
