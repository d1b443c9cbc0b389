"""Who dials whom in a cluster, with sidecars and without: a pod itself, the node, each address family, and nobody."""

from typing import Final

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.manifests import Manifest
from cluster.kube.workloads import PORTS, Workloads
from cluster.mesh import access_log, identity_of, policy, until
from cluster.release import Release

GREETER: Final = PORTS["greeter"]
UNUSED: Final = 2600
NODES: Final = 18090
"""A port of the node's, and the next one."""
TALKS: Final = 20
AT_ONCE_S: Final = 1.0
"""Within this a dial that leads nowhere has ended."""
SOON_S: Final = 20.0
BOTH: Final = pytest.mark.parametrize("meshed", [False, True], ids=["plain", "meshed"])


@pytest.fixture(scope="module")
def places(cluster: Cluster, handfast: Release, workloads: Workloads, module_namespace: NamespaceFactory) -> list[str]:
    """A namespace without sidecars, and one with: a client, two servers behind one Service, and one behind its own."""
    made = [module_namespace("plain"), module_namespace("meshed", inject=True)]
    pods: list[Manifest] = []
    for here in made:
        pods += [workloads.pod("client", here), workloads.service("mail", here, [GREETER])]
        pods += [workloads.pod(name, here, "greeter", labels={"app": "mail"}) for name in ("mail-0", "mail-1")]
        pods += workloads.server("alone", here, "greeter")
    cluster.apply_ready(*pods)
    return made


def visit(cluster: Cluster, pod: str, namespace: str, *targets: str, times: int = 1, patience_s: float = 0) -> Manifest:
    """What became of talks with the greeters at these addresses."""
    return cluster.client(pod, namespace, "visit", *targets, f"--times={times}", f"--patience={patience_s}")


def failure(cluster: Cluster, pod: str, namespace: str, target: str) -> str:
    """With what error a dial ends that leads nowhere, and it does so at once."""
    report = visit(cluster, pod, namespace, target)
    assert report["failed"] == 1, report
    assert report[target]["seconds"] < AT_ONCE_S
    return str(report[target]["error"])


def ended(meshed: bool) -> str:
    """How a dial to where nobody listens does."""
    return "ConnectionResetError" if meshed else "ConnectionRefusedError"


@BOTH
def test_a_pod_reaches_itself_through_its_service(cluster: Cluster, places: list[str], meshed: bool) -> None:
    here = places[meshed]
    target = f"alone.{here}:{GREETER}"  # without the namespace it is the pod's own host name
    assert visit(cluster, "alone", here, target, times=5, patience_s=SOON_S)[target] == {"alone": 5}
    if meshed:
        until("both ends of each are in its log", lambda: len(access_log(cluster, "alone", here)) == 10)
        assert {line["peer"] for line in access_log(cluster, "alone", here)} == {identity_of(here)}


@BOTH
def test_a_pod_reaches_itself_by_its_own_addresses_and_no_sidecar_is_asked(
    cluster: Cluster, places: list[str], meshed: bool
) -> None:
    here = places[meshed]
    own = [each["ip"] for each in cluster.get("pod", "alone", here)["status"]["podIPs"]]
    targets = [f"{address}:{GREETER}" for address in (*own, "127.0.0.1")]
    report = visit(cluster, "alone", here, *targets)
    assert report == {"failed": 0} | {target: {"alone": 1} for target in targets}
    if meshed:
        dialled = {line["destination"] for line in access_log(cluster, "alone", here) if line["direction"] == "out"}
        assert not dialled & set(targets)


@BOTH
def test_a_pod_behind_a_service_reaches_the_others_and_itself(
    cluster: Cluster, places: list[str], meshed: bool
) -> None:
    here, target = places[meshed], f"mail:{GREETER}"
    greeted = visit(cluster, "mail-0", here, target, times=TALKS, patience_s=SOON_S)[target]
    assert (set(greeted), sum(greeted.values())) == ({"mail-0", "mail-1"}, TALKS)


@BOTH
def test_a_service_is_served_in_each_family_that_the_cluster_has(
    cluster: Cluster, workloads: Workloads, places: list[str], meshed: bool
) -> None:
    here = places[meshed]
    mail = {"app": "mail"}
    cluster.apply(workloads.service("both", here, [GREETER], ipFamilyPolicy="PreferDualStack", selector=mail))
    spec = cluster.get("service", "both", here)["spec"]
    pods = {family_of(each["ip"]) for each in cluster.get("pod", "client", here)["status"]["podIPs"]}
    assert {family_of(address) for address in spec["clusterIPs"]} == set(spec["ipFamilies"]) == pods
    targets = [f"{address}:{GREETER}" for address in (*spec["clusterIPs"], "both")]
    report = visit(cluster, "client", here, *targets, times=TALKS, patience_s=SOON_S)
    assert report["failed"] == 0
    assert all(set(report[target]) == {"mail-0", "mail-1"} for target in targets)
    if meshed:
        for target in targets[:-1]:
            until("it is in the log", lambda: logged(cluster, "client", here, target))  # noqa: B023
            assert all(line["peer"] for line in logged(cluster, "client", here, target))
    for absent in {"IPv4", "IPv6"} - pods:
        with pytest.raises(ClusterError, match="not configured on this cluster"):
            cluster.apply(workloads.service("absent", here, [GREETER], ipFamilies=[absent], selector=mail))


@BOTH
def test_a_dial_before_the_server_listens_ends_at_once_and_a_later_one_is_served(
    cluster: Cluster, places: list[str], meshed: bool
) -> None:
    here = places[meshed]
    target = f"{cluster.address_of('alone', here)}:{UNUSED}"
    assert failure(cluster, "client", here, target) == ended(meshed)
    with cluster.client_in_background("alone", here, "greeter", f"--port={UNUSED}"):
        assert visit(cluster, "client", here, target, patience_s=SOON_S)[target] == {"alone": 1}


@BOTH
def test_a_dial_to_a_service_without_endpoints_ends_at_once(
    cluster: Cluster, workloads: Workloads, places: list[str], meshed: bool
) -> None:
    here = places[meshed]
    cluster.apply(workloads.service("nobody", here, [GREETER]))
    target = f"{cluster.get('service', 'nobody', here)['spec']['clusterIP']}:{GREETER}"
    # Whoever carries Services here has to hear of it first.
    until("it is told", lambda: visit(cluster, "client", here, target)[target]["error"] == ended(meshed))
    if meshed:
        until("why is in the log", lambda: why_refused(cluster, "client", here, target) == "no_endpoints")
    assert failure(cluster, "client", here, target) == ended(meshed)


@BOTH
def test_pods_in_the_nodes_network_serve_and_are_served_in_plaintext(
    cluster: Cluster, workloads: Workloads, places: list[str], meshed: bool
) -> None:
    here, outside, port = places[meshed], places[False], NODES + meshed
    node = f"node-{port}"
    greeter = ("greeter", f"--port={port}")
    pod = workloads.pod(node, outside, *greeter, hostNetwork=True, probe=workloads.tcp_probe(port))
    pod["spec"]["containers"][0]["ports"] = [{"containerPort": port}]  # there it is a port of the node
    cluster.apply_ready(pod, workloads.service(node, outside, [port]))
    targets = (f"{cluster.node_address}:{port}", f"{node}.{outside}:{port}")
    assert visit(cluster, "client", here, *targets, patience_s=SOON_S)["failed"] == 0
    served = f"{cluster.address_of('alone', here)}:{GREETER}"
    assert visit(cluster, node, outside, served)[served] == {"alone": 1}
    if not meshed:
        return
    until("it is in the log", lambda: logged(cluster, "client", here, targets[0]))
    assert logged(cluster, "client", here, targets[0])[-1]["peer"] is None
    cluster.apply(policy(here, "strict", mode="Strict", selector={"matchLabels": {"app": "alone"}}))
    until("the node is refused", lambda: visit(cluster, node, outside, served)["failed"])
    assert failure(cluster, node, outside, served) == "ConnectionResetError"
    until("why is in the log", lambda: logged(cluster, "alone", here, served)[-1]["reason"] == "plaintext_refused")
    cluster.delete("mtlspolicy", "strict", here)


def why_refused(cluster: Cluster, pod: str, namespace: str, target: str) -> str:
    """The reason in the access log for a dial that comes to nothing."""
    assert visit(cluster, pod, namespace, target)["failed"]
    lines = logged(cluster, pod, namespace, target)
    return str(lines[-1]["reason"]) if lines else ""


def logged(cluster: Cluster, pod: str, namespace: str, target: str) -> list[Manifest]:
    """What a pod's sidecar has written of connections to a destination."""
    return [line for line in access_log(cluster, pod, namespace) if line["destination"] == target]


def family_of(address: str) -> str:
    """As Kubernetes names it."""
    return "IPv6" if ":" in address else "IPv4"
