"""What is kept of a failed test: all that the parts said, for whoever cannot have the cluster back."""

import re
import shutil
from pathlib import Path

from cluster.cluster import Cluster
from cluster.kube.errors import ClusterError
from cluster.kube.places import LOGS

KINDS = {
    "pods": "pods",
    "events": "events",
    "workloads": "deployments,replicasets,jobs,services,endpointslices,configmaps",
    "admission": "mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies",
    "handfast": "mtlspolicies.handfast.dev,clustermtlspolicies.handfast.dev,trustdomains.handfast.dev",
}
"""No Secrets: logs are passed around."""


def keep(cluster: Cluster, test: str) -> Path:
    """Write it to a folder of the test's name, which replaces that of an earlier run; never raises ClusterError."""
    folder = LOGS / re.sub(r"[^\w.-]+", "_", test)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    components = cluster.component_logs()
    if components is not None and components.is_dir():
        shutil.copytree(components, folder / "components")
    for name, kinds in KINDS.items():
        _write(folder / f"{name}.yaml", cluster, "get", kinds, "--all-namespaces", "-o", "yaml")
    try:
        pods = cluster.list("pods")
    except ClusterError as error:
        (folder / "pods.error").write_text(str(error))
        return folder
    for pod in pods:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        status = pod.get("status", {})
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            where = folder / "containers" / namespace / f"{name}.{container['name']}"
            words = ["logs", name, f"--namespace={namespace}", f"--container={container['name']}"]
            _write(where.with_name(f"{where.name}.log"), cluster, *words)
            if container.get("restartCount"):
                _write(where.with_name(f"{where.name}.previous.log"), cluster, *words, "--previous")
    return folder


def _write(path: Path, cluster: Cluster, *words: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_text(cluster(*words, timeout_s=30))
    except ClusterError as error:
        path.with_name(f"{path.name}.error").write_text(str(error))
