"""What the real programs serve is what their tables promise, and Prometheus's linter has nothing against it."""

import re
import shutil
import subprocess
import sys

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.faults import leader
from cluster.kube.workloads import Workloads
from cluster.release import NAMESPACE, Release
from handfast_operator.metrics import PROGRAMS
from handfast_sidecar import wellknown
from handfast_sidecar.observe.metrics import OVERFLOW

pytestmark = pytest.mark.usefixtures("handfast")
PORTS = {
    "controller": wellknown.CONTROLLER_HEALTH_PORT,
    "webhook": wellknown.WEBHOOK_HEALTH_PORT,
    "directory": wellknown.DIRECTORY_HEALTH_PORT,
}
FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode(), end='')"


@pytest.fixture
def served(cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory) -> dict[str, str]:
    """The answer of `/metrics` of each program, with some traffic behind it."""
    here = namespace(inject=True)
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    cluster.wait_reachable("client", here, "orders", 8080)
    addresses = {"sidecar": f"{cluster.address_of('client', here)}:{wellknown.ADMIN_PORT}"}
    # A controller that waits to lead has little to tell.
    leads = leader(cluster, handfast)
    for pod in cluster.list("pods", NAMESPACE):
        name = pod["metadata"]["name"]
        for role, port in PORTS.items():
            if name == leads or (role != "controller" and name.startswith(f"handfast-{role}-")):
                addresses[role] = f"{pod['status']['podIP']}:{port}"
    assert set(addresses) == set(PROGRAMS)
    return {
        program: cluster.on_node(sys.executable, "-c", FETCH, f"http://{address}/metrics")
        for program, address in addresses.items()
    }


def test_each_program_serves_what_its_table_promises(served: dict[str, str]) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is missing: apt-get install prometheus"
    for program, text in served.items():
        command = [promtool, "check", "metrics"]
        said = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
        assert (said.returncode, said.stdout + said.stderr) == (0, ""), program
        types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
        assert types == {metric.name: metric.kind for metric in PROGRAMS[program]}, program
        allowed = {
            (metric.name, label.name): {*label.values, OVERFLOW}
            for metric in PROGRAMS[program]
            for label in metric.labels
            if label.values
        }
        for name, labels in re.findall(r"^(\w+)\{(.*)\} \S+$", text, re.MULTILINE):
            for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
                assert value in allowed.get((name, label), {value}), f"{program}: {name}"
