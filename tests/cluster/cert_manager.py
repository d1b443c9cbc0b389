"""The real cert-manager, built from its Go module, as a process beside the cluster."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.cluster import Cluster
from cluster.kube import commands
from support.go_program import built

SOURCES = Path(__file__).parent / "certmanager"
MODULE = "github.com/cert-manager/cert-manager"
KINDS = ("certificates", "certificaterequests", "issuers", "clusterissuers")
"""Of the custom resources that its controllers for Certificates read."""
END_S = 30

Json = dict[str, Any]


@contextmanager
def running(cluster: Cluster, namespace: str) -> Iterator[None]:
    """cert-manager issues in this namespace while the block runs; its resources go with it."""
    program = built(SOURCES, "cert-manager's own controller cannot be built")
    definitions = [f"--filename={each}" for each in _definitions()]
    cluster("apply", "--server-side", *definitions)
    for kind in KINDS:
        cluster("wait", "crd", f"{kind}.cert-manager.io", "--for=condition=Established", "--timeout=60s")
    process = subprocess.Popen([program, f"-kubeconfig={cluster.kubeconfig}", f"-namespace={namespace}"])
    try:
        yield
        assert process.poll() is None, "cert-manager has ended by itself"
    finally:
        process.terminate()
        process.wait(END_S)
        cluster("delete", "--wait=false", *definitions)


def renew(cluster: Cluster, name: str, namespace: str) -> None:
    """What `cmctl renew` does: ask for a new certificate by a condition."""
    asked = {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "renewal is asked for",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status: Json = cluster.get("certificate", name, namespace)["status"]
    patch = json.dumps({"status": {"conditions": [*status["conditions"], asked]}})
    cluster("patch", "certificate", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


def _definitions() -> list[Path]:
    """Its custom resource definitions, from the module itself; they have one version, so no webhook converts."""
    described = commands.build(["go", "mod", "download", "-json", MODULE], cwd=SOURCES)
    folder = Path(json.loads(described)["Dir"]) / "deploy" / "crds"
    return [folder / f"cert-manager.io_{kind}.yaml" for kind in KINDS]
