"""What Prometheus's `kubernetes_sd_configs` of the role `pod` finds, as targets of a `file_sd_configs`.

Debian's Prometheus is built without discovery in Kubernetes. So the test lists the pods, and Prometheus gets of them
what its documentation says that it would have found (prometheus.io/docs/prometheus/latest/configuration/configuration).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def write_targets(file: Path, pods: Iterable[Mapping[str, Any]]) -> None:
    """Whole or not at all: Prometheus watches the file."""
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps([target for pod in pods for target in targets(pod)]))
    fresh.rename(file)


def targets(pod: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One for each port that a container declares; init containers are asked too. None before it has an address."""
    meta, spec, status = pod["metadata"], pod["spec"], pod["status"]
    address = status.get("podIP")
    if not address:
        return
    common = {
        "__meta_kubernetes_namespace": meta["namespace"],
        "__meta_kubernetes_pod_name": meta["name"],
        "__meta_kubernetes_pod_phase": status["phase"],
        **{
            f"__meta_kubernetes_pod_label_{re.sub('[^a-zA-Z0-9_]', '_', name)}": value
            for name, value in meta.get("labels", {}).items()
        },
    }
    for kind in ("containers", "initContainers"):
        for container in spec.get(kind, ()):
            for port in container.get("ports", ()):
                labels = {
                    "__meta_kubernetes_pod_container_name": container["name"],
                    "__meta_kubernetes_pod_container_init": str(kind == "initContainers").lower(),
                    "__meta_kubernetes_pod_container_port_name": port.get("name", ""),
                    "__meta_kubernetes_pod_container_port_number": str(port["containerPort"]),
                }
                yield {"targets": [f"{address}:{port['containerPort']}"], "labels": common | labels}
