"""A real Prometheus, as docs/monitoring.md configures it: it finds every part, and answers what the dashboard asks.

Only who lists the pods is another one: see `support.pod_discovery`.
"""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.places import REPOSITORY
from cluster.kube.release import CHART
from cluster.kube.workloads import Workloads
from cluster.mesh import policy, until
from cluster.release import NAMESPACE, Release
from support.dashboard import queries
from support.pod_discovery import write_targets
from support.ports import free_port

WINDOW = "10m"
"""Over which rates are taken: more than the whole test lasts."""
MAY_BE_EMPTY = {
    "handfast_audited_total",
    "handfast_handshake_failures_total",
    "handfast_leaf_issue_failures_total",
    "handfast_directory_sessions_ended_total",
    "handfast_directory_refused_total",
    "handfast_tunnels_closed_total",
}
"""Counters of what does not happen while all is well."""


class Prometheus:
    """One that runs on the node."""

    def __init__(self, cluster: Cluster, port: int, targets: Path) -> None:
        self._cluster, self._targets = cluster, targets
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **words: str) -> Any:
        """What the API answers (prometheus.io/docs/prometheus/latest/querying/api)."""
        fields = [word for name, value in words.items() for word in ("--data-urlencode", f"{name}={value}")]
        return json.loads(self._cluster.on_node("curl", "--silent", "--get", *fields, f"{self._url}{path}"))["data"]

    def ready(self) -> bool:
        """Whether it answers queries."""
        try:
            self._cluster.on_node("curl", "--silent", "--fail", f"{self._url}/-/ready")
        except ClusterError:
            return False
        return True

    def up(self) -> set[str]:
        """Pods that are scraped, and answer."""
        write_targets(self._targets, self._cluster.list("pods"))
        targets = self.get("/api/v1/targets", state="active")["activeTargets"]
        return {target["labels"]["pod"] for target in targets if target["health"] == "up"}

    def answers(self, expression: str) -> bool:
        """Whether it knows anything of that."""
        return bool(self.get("/api/v1/query", query=expression)["result"])


def configuration(pods: Path) -> dict[str, Any]:
    """What the page says, and what it leaves to its reader: how often, and the alerts. `pods`: the targets' file."""
    page = (REPOSITORY / "docs" / "monitoring.md").read_text()
    block = re.search(r"```yaml\n(scrape_configs:.*?)```", page, re.DOTALL)
    assert block is not None
    found: dict[str, Any] = yaml.safe_load(block[1])
    for job in found["scrape_configs"]:
        assert [each["role"] for each in job.pop("kubernetes_sd_configs")] == ["pod"]
        job["file_sd_configs"] = [{"files": [str(pods)]}]
    times = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    return {"global": times, "rule_files": [str(CHART / "files" / "alerts.yaml")], **found}


@contextmanager
def prometheus(cluster: Cluster, folder: Path) -> Iterator[Prometheus]:
    """One that runs in the node's network while the block does."""
    program = shutil.which("prometheus")
    assert program is not None, "Prometheus is missing: apt-get install prometheus"
    file, port = folder / "prometheus.yaml", free_port()
    targets = folder / "targets.json"
    write_targets(targets, cluster.list("pods"))
    file.write_text(yaml.safe_dump(configuration(targets)))
    command = [
        "nsenter",
        f"--net={cluster.node.network}",
        program,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            ours = Prometheus(cluster, port, targets)
            until("Prometheus is ready", lambda: ours.ready() or process.poll() is not None)
            assert process.poll() is None, (folder / "log").read_text()
            yield ours
        finally:
            process.terminate()


@pytest.mark.timeout(300)
def test_a_real_prometheus_finds_every_part_and_answers_every_query_of_the_dashboard(
    cluster: Cluster, handfast: Release, workloads: Workloads, namespace: NamespaceFactory, tmp_path: Path
) -> None:
    def parts() -> set[str]:
        return {pod["metadata"]["name"] for pod in cluster.list("pods", NAMESPACE)}

    with prometheus(cluster, tmp_path) as ours:
        until("every part of the operator is scraped", lambda: parts() <= ours.up(), 60)
        shop, outside = namespace("shop", inject=True), namespace("outside")
        cluster.apply([policy(shop, "vault", selector={"matchLabels": {"app": "vault"}}, mode="Strict")])
        cluster.apply_ready(
            *workloads.server("orders", shop, "http"),
            *workloads.server("vault", shop, "http"),
            workloads.pod("client", shop),
            workloads.pod("stranger", outside),
        )
        cluster.wait_reachable("client", shop, "vault", 8080)
        until("every sidecar is scraped", lambda: {"orders", "vault", "client"} <= ours.up(), 30)
        asked = [query for query in queries(rate=WINDOW) if not any(name in query[1] for name in MAY_BE_EMPTY)]
        deadline = time.monotonic() + 45
        while asked and time.monotonic() < deadline:
            for pod, place in (("client", shop), ("stranger", outside)):
                for server in ("orders", "vault"):
                    cluster.client(pod, place, "load", f"http://{server}.{shop}:8080/", "--requests=5", "--close")
            asked = [(title, expression) for title, expression in asked if not ours.answers(expression)]
        assert asked == []
        refused = ours.get(
            "/api/v1/query", query=f'handfast_denied_total{{namespace="{shop}",reason="plaintext_refused"}}'
        )
        assert {each["metric"]["pod"] for each in refused["result"]} == {"vault"}
        until("every rule was evaluated", lambda: all(rule["health"] != "unknown" for rule in rules(ours)))
        assert {rule["name"]: rule.get("lastError") for rule in rules(ours) if rule["health"] != "ok"} == {}
        until("the alert about plaintext is on its way", lambda: shop in pending(ours, "HandfastPlaintextRefused"))


def rules(ours: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in ours.get("/api/v1/rules")["groups"] for rule in group["rules"]]


def pending(ours: Prometheus, name: str) -> set[str]:
    """Namespaces of which an alert is on its way, or fires."""
    return {
        alert["labels"].get("namespace", "")
        for alert in ours.get("/api/v1/alerts")["alerts"]
        if alert["labels"]["alertname"] == name
    }


def test_the_chart_gives_prometheus_and_grafana_the_same_files(cluster: Cluster) -> None:
    enabled = [
        f"--set=monitoring.{part}.enabled=true"
        for part in ("serviceMonitor", "podMonitor", "prometheusRule", "dashboard")
    ]
    text = cluster.helm("template", "handfast", str(CHART), f"--namespace={NAMESPACE}", *enabled)
    made = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text) if each}
    alerts = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    assert made["PrometheusRule", "handfast"]["spec"] == alerts
    board = made["ConfigMap", "handfast-dashboard"]
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(board["data"]["handfast.json"]) == json.loads((CHART / "files" / "dashboard.json").read_text())
    monitor = made["ServiceMonitor", "handfast-operator"]["spec"]
    for role in ("controller", "webhook", "directory"):
        service = made["Service", f"handfast-{role}-metrics"]
        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        pod = made["Deployment", f"handfast-{role}"]["spec"]["template"]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        assert service["spec"]["ports"][0]["targetPort"] in {
            port["name"] for port in pod["spec"]["containers"][0]["ports"]
        }
    assert monitor["endpoints"][0]["port"] == "metrics"
    assert made["PodMonitor", "handfast-sidecars"]["spec"]["podMetricsEndpoints"][0]["port"] == "handfast-admin"
