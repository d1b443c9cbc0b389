"""What the directory knows of who talks to whom: from the sidecars, soon, and for those alone who may ask."""

import json
from typing import Final

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.faults import leader
from cluster.kube.errors import ClusterError
from cluster.kube.workloads import PORTS, Workloads
from cluster.mesh import identity_of, policy, until
from cluster.release import Release
from handfast_operator.evidence.view import EdgeView, EvidenceView, Party, from_json, merge
from handfast_sidecar.directory.messages import REPORT_EVERY_S
from handfast_sidecar.wellknown import DIRECTORY_HEALTH_PORT, EVIDENCE_PORT

OPERATOR: Final = "handfast-system"
SOON_S: Final = 2 * REPORT_EVERY_S + 2.0
"""Two intervals between reports, and what kubectl takes."""
FETCH: Final = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
HTTP: Final = PORTS["http"]


def evidence(cluster: Cluster) -> EvidenceView:
    """Of all replicas, as a person with the right to run commands in their pods reads it."""
    url = f"http://127.0.0.1:{EVIDENCE_PORT}/evidence"
    pods = cluster.list("pods", OPERATOR, selector="app.kubernetes.io/component=directory")
    texts = [cluster.exec(pod["metadata"]["name"], OPERATOR, ["python3", "-c", FETCH, url]) for pod in pods]
    return merge(from_json(json.loads(text)) for text in texts)


def edges_to(cluster: Cluster, namespace: str) -> dict[Party, EdgeView]:
    """By source: the edges to the Deployment `orders`."""
    edges = evidence(cluster).edges
    return {
        edge.source: edge
        for edge in edges
        if (edge.destination.namespace, edge.destination.name) == (namespace, "deployment/orders")
    }


@pytest.fixture(scope="module")
def shop(
    cluster: Cluster, handfast: Release, workloads: Workloads, module_namespace: NamespaceFactory
) -> tuple[str, str]:
    """A meshed Deployment `orders` with a meshed client, and a client without a sidecar in another namespace."""
    meshed, outside = module_namespace("shop", inject=True), module_namespace("outside")
    cluster.apply_ready(
        workloads.deployment("orders", meshed, "http"),
        workloads.service("orders", meshed, [HTTP]),
        workloads.pod("client", meshed),
        workloads.pod("client", outside),
    )
    for where in (meshed, outside):
        cluster.wait_reachable("client", where, f"orders.{meshed}", HTTP)
    return meshed, outside


def test_meshed_and_plaintext_clients_are_told_by_name_within_two_reports(
    cluster: Cluster, shop: tuple[str, str]
) -> None:
    meshed, outside = shop
    for where in shop:
        assert cluster.client("client", where, "load", f"http://orders.{meshed}:{HTTP}/", "--requests=3")["failed"] == 0
    account = Party(meshed, "serviceaccount/default", identity_of(meshed))
    plain = Party(outside, "pod/client")
    found = until("both edges", lambda: {account, plain} <= edges_to(cluster, meshed).keys(), SOON_S)
    assert found
    edges = edges_to(cluster, meshed)
    assert (edges[account].encrypted, edges[account].port) == (True, HTTP)
    assert (edges[plain].encrypted, edges[plain].port) == (False, HTTP)
    assert edges[plain].connections > 0
    assert edges[plain].destination.identity == identity_of(meshed)


def test_a_connection_is_told_while_it_is_open_and_not_afterwards(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, outside = shop
    plain = Party(outside, "pod/client")

    def is_open() -> int:
        edge = edges_to(cluster, meshed).get(plain)
        return edge.open if edge is not None else 0

    with cluster.client_in_background(
        "client", outside, "load", f"http://orders.{meshed}:{HTTP}/", "--until-eof", "--connections=2", "--pause=0.5"
    ) as load:
        until("two connections are open", lambda: is_open() == 2, SOON_S)
        load.finish()
    until("no connection is open", lambda: is_open() == 0, SOON_S)


def test_what_a_policy_refuses_is_told_with_its_reason_and_its_rule(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, outside = shop
    cluster.apply([policy(meshed, "strict", mode="Strict")])
    try:

        def refused() -> EdgeView | None:
            cluster.client("client", outside, "load", f"http://orders.{meshed}:{HTTP}/", "--requests=1", "--close")
            edge = edges_to(cluster, meshed).get(Party(outside, "pod/client"))
            return edge if edge is not None and edge.refused.get("plaintext_refused") else None

        edge = until("the refusal is told", refused, SOON_S)
        assert edge is not None
        assert edge.rule == f"MTLSPolicy {meshed}/strict"
    finally:
        cluster.delete("mtlspolicy", "strict", meshed)


def test_each_meshed_pod_says_what_it_runs_with(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, _outside = shop
    uid = cluster.get("pod", "client", meshed)["metadata"]["uid"]
    said = until("the client reports", lambda: evidence(cluster).pods.get(uid), SOON_S)
    assert said is not None
    assert (said.pod, said.identity) == (f"{meshed}/client", identity_of(meshed))


def test_who_merely_reaches_the_directorys_pod_reads_nothing(cluster: Cluster, shop: tuple[str, str]) -> None:
    _meshed, outside = shop
    pod = cluster.list("pods", OPERATOR, selector="app.kubernetes.io/component=directory")[0]
    address = pod["status"]["podIP"]
    for port, wanted in ((EVIDENCE_PORT, "refused"), (DIRECTORY_HEALTH_PORT, "404")):
        with pytest.raises(ClusterError, match=wanted):
            cluster.exec("client", outside, ["python3", "-c", FETCH, f"http://{address}:{port}/evidence"])


def test_the_controller_follows_every_replica(cluster: Cluster, handfast: Release, shop: tuple[str, str]) -> None:
    words = ["python3", "-c", FETCH, "http://127.0.0.1:14030/metrics"]
    text = cluster.exec(leader(cluster, handfast), OPERATOR, words)
    replicas = len(cluster.list("pods", OPERATOR, selector="app.kubernetes.io/component=directory"))
    assert f'handfast_evidence_replicas{{state="connected"}} {replicas}' in text
