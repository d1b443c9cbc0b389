"""Faults of Handfast's own pods, and who does their work: by the machine's own means, so where the node is ours."""

import os
import signal
from contextlib import suppress

from cluster.cluster import Cluster
from cluster.kube.manifests import Manifest
from cluster.kube.sandbox import Sandbox
from cluster.kube.workloads import PORTS, Workloads
from cluster.mesh import fetched
from cluster.release import Release
from cluster.stragglers import processes
from handfast_bench.scrape import Scrape
from handfast_sidecar.wellknown import DIRECTORY_HEALTH_PORT

CONTROLLER, WEBHOOK, DIRECTORY = "handfast-controller", "handfast-webhook", "handfast-directory"


def our_node(cluster: Cluster) -> Sandbox:
    """The machine of a cluster that we started; AssertionError on another one."""
    assert isinstance(cluster.node, Sandbox)
    return cluster.node


def asking_later(workloads: Workloads, name: str, namespace: str, host: str, wait_s: int) -> Manifest:
    """A pod that asks an HTTP server it has never met after some seconds, once: without an API server nobody can be
    told to. Its report is all that it prints."""
    words = (f"http://{host}:{PORTS['http']}/", "--requests=1", "--close", "--timeout=10", f"--after={wait_s}")
    return workloads.pod(name, namespace, "load", *words, restartPolicy="Never")


def crash(pod: str, word: str) -> None:
    """SIGKILL to the processes of a pod that have this word: kubelet starts its container again."""
    found = processes(pod, word)
    assert found, f"nothing of {pod} runs"
    for process in found:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def lose(cluster: Cluster, handfast: Release, pod: str, word: str) -> None:
    """The same, and the pod is gone with it: as when its node is lost, and somebody has said so."""
    crash(pod, word)
    cluster("delete", "pod", pod, "-n", handfast.namespace, "--grace-period=0", "--force", "--wait=false")


def leader(cluster: Cluster, handfast: Release) -> str:
    """The controller that holds the Lease; empty: none."""
    lease = cluster.get("lease", CONTROLLER, handfast.namespace)
    return str(lease["spec"].get("holderIdentity") or "")


def sessions(cluster: Cluster, handfast: Release) -> dict[str, int]:
    """How many sidecars each replica of the directory has, by pod; one that does not answer is left out."""
    pods = {
        each["metadata"]["name"]: each["status"]["podIP"]
        for each in cluster.list("pods", handfast.namespace, selector="app.kubernetes.io/component=directory")
        if (each.get("status") or {}).get("podIP")
    }
    texts = fetched(cluster, *(f"http://{address}:{DIRECTORY_HEALTH_PORT}/metrics" for address in pods.values()))
    name = "handfast_directory_sessions"
    return {pod: Scrape.parse(text).total(name) for pod, text in zip(pods, texts, strict=True) if text}
