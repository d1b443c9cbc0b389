"""The command line against a cluster: what it says is what the sidecars do."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import Workloads
from cluster.mesh import identity_of, policy, until
from cluster.release import NAMESPACE as SYSTEM
from cluster.release import Release
from handfast_operator.cluster import port_forward
from handfast_operator.cluster.access import find_access
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.port_forward import ForwardFailed
from handfast_operator.evidence.view import EdgeView, EvidenceView, Party, to_json
from handfast_sidecar.wellknown import DIRECTORY_HEALTH_PORT

pytestmark = pytest.mark.usefixtures("handfast")
YES, NO, USAGE, UNKNOWN = range(4)
COMMAND = [sys.executable, "-m", "handfast_operator.cli.main"]
Json = dict[str, Any]


def handfast(cluster: Cluster, *words: str, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """`handfast WORDS...`, as somebody types it."""
    environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig)}
    return subprocess.run(
        [*(command or COMMAND), *words], capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def told(cluster: Cluster, *words: str) -> tuple[int, Json]:
    """The exit code, and the answer as data."""
    done = handfast(cluster, *words, "--output=json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def shop(cluster: Cluster, workloads: Workloads, module_namespace: NamespaceFactory) -> tuple[str, str]:
    """Two servers behind one Service, and a client without a sidecar."""
    meshed, outside = module_namespace("shop", inject=True), module_namespace("outside")
    cluster.apply_ready(
        workloads.deployment("orders", meshed, "http", replicas=2),
        workloads.service("orders", meshed, [8080]),
        workloads.pod("client", meshed),
        workloads.pod("client", outside),
    )
    for where in (meshed, outside):
        cluster.wait_reachable("client", where, f"orders.{meshed}", 8080)
    return meshed, outside


def served(cluster: Cluster, namespace: str, host: str) -> bool:
    report = cluster.client("client", namespace, "load", f"http://{host}:8080/", "--requests=1", "--close")
    return bool(report["failed"] == 0)


# --- why


def test_why_says_what_then_happens(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, outside = shop
    code, inside = told(cluster, "why", f"{meshed}/client", f"orders.{meshed}:8080")
    assert (code, inside["verdict"], inside["paths"][0]["way"]) == (YES, "allowed", "tunnel")
    assert inside["from"]["identity"] == identity_of(meshed)
    assert len(inside["paths"]) == 1, "two endpoints with one verdict"
    assert all(each["pod"]["sidecar"]["running"] for each in inside["paths"][0]["endpoints"])
    cluster.apply([policy(meshed, "strict", mode="Strict")])
    try:
        code, refused = told(cluster, "why", f"{outside}/client", f"{meshed}/service/orders:port-8080")
        assert (code, refused["verdict"]) == (NO, "refused")
        assert refused["paths"][0]["reason"] == "plaintext_refused"
        assert refused["paths"][0]["rule"] == f"MTLSPolicy {meshed}/strict"
        until("plaintext is refused", lambda: not served(cluster, outside, f"orders.{meshed}"))
        assert served(cluster, meshed, "orders")
    finally:
        cluster.delete("mtlspolicy", "strict", meshed)


def test_an_allow_list_is_judged_for_accounts_that_have_no_pod_yet(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, _outside = shop
    selector = {"matchLabels": {"app": "orders"}}
    cluster.apply([policy(meshed, "orders", selector=selector, allow=[{"from": [{"serviceAccount": "cart"}]}])])
    try:
        assert told(cluster, "why", "serviceaccount/cart", "deployment/orders:8080", "-n", meshed)[0] == YES
        code, refused = told(cluster, "why", "client", "deployment/orders:8080", "-n", meshed)
        assert (code, refused["paths"][0]["reason"]) == (NO, "denied")
        assert "serviceAccount: default" in refused["paths"][0]["remedy"]
    finally:
        cluster.delete("mtlspolicy", "orders", meshed)


def test_an_address_is_the_pod_or_the_service_that_has_it(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, outside = shop
    pod = cluster.address_of("client", meshed)
    found = told(cluster, "why", f"{outside}/client", f"{pod}:8080")[1]
    assert found["paths"][0]["endpoints"][0]["pod"]["name"] == "client"
    service = cluster.get("service", "orders", meshed)["spec"]["clusterIP"]
    found = told(cluster, "why", f"{outside}/client", f"{service}:8080")[1]
    assert found["to"] == {"name": f"service {meshed}/orders", "port": 8080}
    assert len(found["paths"][0]["endpoints"]) == 2


def test_what_is_not_there_and_what_is_not_understood_are_no_noes(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, _outside = shop
    missing = handfast(cluster, "why", "nobody", "orders:8080", "-n", meshed)
    assert (missing.returncode, missing.stdout) == (UNKNOWN, "")
    assert f"there is no pod {meshed}/nobody" in missing.stderr
    assert handfast(cluster, "why", "client", "orders", "-n", meshed).returncode == USAGE


def test_the_answer_is_first_and_in_words(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, _outside = shop
    lines = handfast(cluster, "why", "client", "service/orders:8080", "-n", meshed).stdout.splitlines()
    assert lines[0] == "Allowed: no policy says otherwise."
    assert lines[1].startswith(f"FROM       pod {meshed}/client (node ")


def test_as_a_plugin_of_kubectl_it_is_the_same(
    cluster: Cluster, shop: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kubectl runs what is called kubectl-NAME in PATH, with the rest of the words."""
    kubectl = [each for each in cluster.command("kubectl") if not each.startswith("--kubeconfig=")]
    plugin = tmp_path / "kubectl-handfast"
    plugin.symlink_to(Path(sys.executable).with_name("kubectl-handfast"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    meshed, _outside = shop
    done = handfast(cluster, "handfast", "why", "client", "service/orders:8080", "-n", meshed, command=kubectl)
    assert (done.returncode, done.stdout.splitlines()[0]) == (YES, "Allowed: no policy says otherwise.")


# --- policy effective


def test_the_effective_policy_is_the_one_in_the_pods_secret(cluster: Cluster, shop: tuple[str, str]) -> None:
    meshed, _outside = shop
    wanted = policy(
        meshed, "mine", mode="Strict", ports=[{"port": 9090, "mode": "Permissive"}], certificate={"ttl": "2h"}
    )
    cluster.apply([wanted])
    try:
        code, found = told(cluster, "policy", "effective", "deployment/orders", "-n", meshed)
        fields = {each["field"]: (each["value"], each["from"]) for each in found["fields"]}
        origin = f"MTLSPolicy {meshed}/mine"
        assert code == YES
        assert fields["mode"] == ("Strict", origin)
        assert fields["ports[9090]"] == ("Permissive", origin)
        assert fields["certificate.ttl"] == ("2h", origin)
        assert fields["allow"] == (None, "default")
        assert [each["effect"] for each in found["policies"][0]["says"]] == ["decides"] * 3
        as_yaml = handfast(cluster, "policy", "effective", "deployment/orders", "-n", meshed, "-o", "yaml")
        assert yaml.safe_load(as_yaml.stdout)["compiled"] == found["compiled"]
    finally:
        cluster.delete("mtlspolicy", "mine", meshed)


# --- edges

SERVE = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Directory(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/evidence" else 404)
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
HTTPServer(("127.0.0.1", 14033), Directory).serve_forever()
"""


def replica(workloads: Workloads, namespace: str, name: str, view: EvidenceView) -> Json:
    """A pod that has the directory's labels, and on its loopback this evidence."""
    program = ["python3", "-c", SERVE, json.dumps(to_json(view))]
    probe = {"exec": {"command": ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 14033))"]}}
    labels = {"app.kubernetes.io/name": "handfast", "app.kubernetes.io/component": "directory"}
    container = workloads.container(command=program, args=[], readinessProbe=probe | {"periodSeconds": 1})
    return workloads.pod(name, namespace, labels=labels, containers=[container])


def test_edges_are_those_of_all_replicas_and_one_that_is_silent_is_told(
    cluster: Cluster, shop: tuple[str, str], workloads: Workloads, namespace: NamespaceFactory
) -> None:
    meshed, outside = shop
    system = namespace("system")
    seen = EdgeView(Party("", cluster.address_of("client", outside)), Party(meshed, "deployment/orders"), 8080, False)
    one = EvidenceView(100.0, (replace(seen, connections=2, refused={"plaintext_refused": 1}, last_seen=90.0),))
    two = EvidenceView(101.0, (replace(seen, connections=3, last_seen=80.0),))
    cluster.apply_ready(replica(workloads, system, "one", one), replica(workloads, system, "two", two))
    where = [f"--operator-namespace={system}"]
    code, found = told(cluster, "edges", "-n", meshed, *where)
    assert (code, found["replicas"]) == (YES, {"asked": 2, "problems": []})
    [edge] = found["edges"]
    assert (edge["connections"], edge["refused"], edge["lastSeen"]) == (5, {"plaintext_refused": 1}, 90.0)
    assert told(cluster, "edges", "-n", system, *where)[1]["edges"] == []
    assert len(told(cluster, "edges", "--all-namespaces", *where)[1]["edges"]) == 1
    answer = told(cluster, "why", f"{outside}/client", f"orders.{meshed}:8080", *where)[1]
    assert [each["connections"] for each in answer["lastSeen"]] == [5]

    labels = {"app.kubernetes.io/name": "handfast", "app.kubernetes.io/component": "directory"}
    cluster.apply_ready(workloads.pod("silent", system, labels=labels))
    partly = handfast(cluster, "edges", "-n", meshed, *where)
    assert partly.returncode == YES
    assert partly.stdout.splitlines()[1].split()[1:5] == [f"{meshed}/deployment/orders", "8080", "no", "5"]
    assert f"incomplete: port 14033 of pod {system}/silent is not reached" in partly.stderr


def test_where_nobody_can_be_asked_edges_are_not_known(cluster: Cluster, shop: tuple[str, str]) -> None:
    done = handfast(cluster, "edges", f"--operator-namespace={shop[1]}")
    assert (done.returncode, done.stdout) == (UNKNOWN, "")
    assert f"no handfast-directory runs in the namespace {shop[1]}" in done.stderr


# --- ports of pods


async def test_a_port_on_a_pods_loopback_is_reached_through_the_api_server(cluster: Cluster, handfast: Release) -> None:
    [pod, *_others] = handfast.pods("handfast-directory")
    async with ApiClient.connect(find_access({"KUBECONFIG": str(cluster.kubeconfig)})) as client:
        found = await port_forward.get(client, SYSTEM, pod, DIRECTORY_HEALTH_PORT, "/healthz")
        assert found.status == HTTPStatus.OK
        with pytest.raises(ForwardFailed, match="port 9 of pod"):
            await port_forward.get(client, SYSTEM, pod, 9, "/")
