"""`handfast inject`, `uninject`, `version` and `diagnose` against a cluster: what they say is what is there."""

import base64
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import Workloads
from cluster.mesh import identity_of, until
from cluster.release import NAMESPACE as SYSTEM
from handfast_operator import __version__
from handfast_operator.cluster.access import find_access
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import PODS

pytestmark = pytest.mark.usefixtures("handfast")
COMMAND = [sys.executable, "-m", "handfast_operator.cli.main"]
Json = dict[str, Any]
ENABLED = {"handfast.dev/inject": "enabled"}
PASSWORD = "hunter2-in-an-environment"


def handfast(cluster: Cluster, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """`handfast WORDS...`, as somebody types it."""
    environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig)}
    return subprocess.run(
        [*COMMAND, *words], input=given, capture_output=True, text=True, check=False, timeout=90, env=environment
    )


def injected(cluster: Cluster, *manifests: Json) -> list[Json]:
    done = handfast(cluster, "inject", "-f", "-", given=yaml.safe_dump_all(manifests, sort_keys=False))
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


async def as_admitted(cluster: Cluster, pod: Json) -> Json:
    """What the API server would create, the webhook asked, without doing it."""
    async with ApiClient.connect(find_access({"KUBECONFIG": str(cluster.kubeconfig)})) as client:
        found = await client.create(PODS.within(pod["metadata"]["namespace"]), pod, dry_run=True)
    text = re.sub(r"-handfast-[a-z0-9]{10}", "-handfast-WORD", json.dumps(found["spec"]))
    spec: Json = json.loads(re.sub(r"kube-api-access-[a-z0-9]{5}", "kube-api-access-WORD", text))
    return spec


async def test_what_is_injected_by_hand_is_what_the_webhook_makes(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace("hand")
    by_name = {"httpGet": {"path": "/ok", "port": "http"}}
    for pod in (
        workloads.pod("plain", here),
        workloads.pod("probed", here, probe=by_name),
        workloads.pod("explicit", here, annotations={"handfast.dev/interception": "none"}),
        workloads.pod("skipping", here, annotations={"handfast.dev/skip-inbound-ports": "9090"}),
    ):
        if pod["metadata"]["name"] == "probed":
            pod["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": 8080}]
        [ours] = injected(cluster, pod)
        labelled = {**pod, "metadata": {**pod["metadata"], "labels": {**pod["metadata"].get("labels", {}), **ENABLED}}}
        assert [each["name"] for each in ours["spec"]["initContainers"]][-1] == "handfast-proxy"
        assert await as_admitted(cluster, ours) == await as_admitted(cluster, labelled)


def test_an_injected_pod_joins_the_mesh_with_the_webhook_and_without(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace("hand")
    server, alone = injected(cluster, workloads.pod("server", here, "http"), workloads.pod("alone", here))
    # Nothing in it makes the API server ask the webhook: the controller issues to whoever has the sidecar.
    del alone["metadata"]["labels"]["handfast.dev/inject"]
    cluster.apply_ready(server, alone, workloads.service("server", here, [8080]))
    cluster.wait_reachable("alone", here, "server", 8080)
    report = cluster.client("alone", here, "load", "http://server:8080/", "--requests=3")
    assert report["failed"] == 0
    told = json.loads(handfast(cluster, "why", f"{here}/alone", f"{here}/service/server:8080", "-o", "json").stdout)
    assert (told["paths"][0]["way"], told["from"]["identity"]) == ("tunnel", identity_of(here))


def test_a_deployment_gets_the_label_and_each_of_its_pods_an_identity_of_its_own(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace("hand")
    [deployment] = injected(cluster, workloads.deployment("server", here, "http", replicas=2))
    cluster.apply_ready(deployment)
    pods = [each for each in cluster.list("pods", here) if not each["metadata"].get("deletionTimestamp")]
    volumes = [volume for pod in pods for volume in pod["spec"]["volumes"] if volume["name"] == "handfast-identity"]
    assert len({each["secret"]["secretName"] for each in volumes}) == 2


def test_versions_are_told_with_how_many_run_each(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    cluster.apply_ready(workloads.pod("client", namespace("versions", inject=True)))
    done = handfast(cluster, "version", "-o", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["client"]) == (0, __version__), done.stderr
    assert {each["part"] for each in found["operator"]} == {"controller", "directory", "webhook"}
    assert all(each["ready"] for each in found["operator"])
    assert sum(each["pods"] for each in found["sidecars"]) >= 1
    assert "sidecar" in handfast(cluster, "version").stdout


# --- diagnose


def private(cluster: Cluster) -> Iterator[str]:
    """Every key and token of the cluster, as it might stand in a file: as it is, in base64, and line by line."""
    values: list[bytes] = []
    for secret in _secrets(cluster):
        for name, value in (secret.get("data") or {}).items():
            decoded = base64.b64decode(value)
            if b"PRIVATE KEY" in decoded or "token" in name or "password" in name:
                values.append(decoded)
                yield value
    users = yaml.safe_load(cluster.kubeconfig.read_text())["users"]
    for user in (each["user"] for each in users):
        values += [user["token"].encode()] if user.get("token") else []
        values += [base64.b64decode(user["client-key-data"])] if user.get("client-key-data") else []
    for value in values:
        for line in value.decode().splitlines():
            if len(line) > 8 and "-----" not in line:
                yield line


def _secrets(cluster: Cluster) -> list[Json]:
    found: list[Json] = json.loads(cluster("get", "secrets", "--all-namespaces", "-o", "json"))["items"]
    return found


def bundle(path: Path) -> dict[str, bytes]:
    """Its files, without the folder at its top."""
    found: dict[str, bytes] = {}
    with tarfile.open(path) as tar:
        for member in tar.getmembers():
            file = tar.extractfile(member)
            assert file is not None
            found[member.name.partition("/")[2]] = file.read()
    return found


def test_a_bundle_tells_all_but_the_secrets(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, tmp_path: Path
) -> None:
    here = namespace("ill", inject=True)
    pod = workloads.pod("client", here)
    pod["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "value": PASSWORD}]
    pod["metadata"].setdefault("annotations", {})["kubectl.kubernetes.io/last-applied-configuration"] = json.dumps(pod)
    secret: Json = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "planted", "namespace": here}}
    # A Secret with our label, and a copy of its data in an annotation, as `kubectl apply` leaves it.
    secret["metadata"] |= {
        "labels": {"handfast.dev/identity": "true"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": PASSWORD, "handfast.dev/serial": "5e1f"},
    }
    secret["data"] = {"password": base64.b64encode(PASSWORD.encode()).decode()}
    cluster.apply([secret])
    cluster.apply_ready(pod)
    until("the sidecar has reported", lambda: f"{here}/client" in handfast(cluster, "certs", "-n", here).stdout)
    path = tmp_path / "bundle.tar.gz"
    done = handfast(cluster, "diagnose", "-n", here, f"{here}/client", "-f", str(path))
    assert done.returncode == 0, done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    files = bundle(path)
    told = {name: content.decode() for name, content in files.items()}

    everything = "\n".join(told.values())
    looked_for = [*private(cluster), PASSWORD]
    assert len(looked_for) > 10, "there are secrets, or this test sees none"
    assert [each for each in looked_for if each in everything] == []
    assert "PRIVATE KEY" not in everything

    for name in ("trustdomains", "customresourcedefinitions", "mutatingwebhookconfigurations", "pods", "events"):
        assert json.loads(told[f"objects/{name}.json"]) is not None
    assert {each["metadata"]["name"] for each in json.loads(told["objects/pods.json"])} == {"client"}
    assert "planted" in told["objects/identity-secrets.json"]
    assert "5e1f" in told["objects/identity-secrets.json"]
    assert "handfast_" in told[f"sidecars/{here}/client/metrics.txt"]
    assert "connected to the directory" in told[f"sidecars/{here}/client/handfast-proxy.log"]
    operators = {each["metadata"]["name"] for each in json.loads(told["operator/pods.json"])}
    assert operators
    assert {name.split("/")[1] for name in told if name.startswith("operator/handfast-")} == operators
    assert all(
        any(name.startswith(f"operator/{each}/") and name.endswith(".log") for name in told) for each in operators
    )
    assert all("handfast_" in told[f"operator/{each}/metrics.txt"] for each in operators)
    assert json.loads(told["commands/version.json"])["client"] == __version__
    assert json.loads(told["commands/certs.json"])["pods"]
    assert "edges" in json.loads(told["commands/edges.json"])
    assert SYSTEM in told["operator/deployments.json"]
    index = json.loads(told["index.json"])
    assert set(index["files"]) | {"index.json"} == set(told)
    # A cluster without a kind of object has none of them, which is no right that is missing.
    assert not [why for why in index["missing"].values() if "may not" in why]
