"""Figures, printed beside what they are measured against; noisy machines make them no verdicts (docs/figures.md)."""

import re
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory, Record
from cluster.kube.workloads import Workloads
from handfast_operator.cluster.access import find_access
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import PODS, SECRETS, Kind

pytestmark = [pytest.mark.usefixtures("handfast"), pytest.mark.alone]
PODS_MEASURED = 8
PATIENCE_S = 180
"""For a pod to be Ready: a slow machine gives figures that are worth little, and is no reason to fail."""


@asynccontextmanager
async def api(cluster: Cluster) -> AsyncIterator[ApiClient]:
    async with ApiClient.connect(find_access({"KUBECONFIG": str(cluster.kubeconfig)})) as client:
        yield client


async def seen_ms(client: ApiClient, kind: Kind, namespace: str, began: float, wanted: Any) -> float:
    """Milliseconds from `began` until the watch shows an object that `wanted` takes."""
    async for event in client.watch(kind.within(namespace), {"timeoutSeconds": str(PATIENCE_S)}):
        if wanted(event["object"]):
            return (time.monotonic() - began) * 1000
    raise AssertionError(f"not seen within {PATIENCE_S} s")


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def start_to_ready(client: ApiClient, workloads: Workloads, namespace: str, name: str) -> tuple[float, float]:
    """Milliseconds until the Secret (0 where there is none to come) and until Ready."""
    began = time.monotonic()
    pod = await client.create(PODS.within(namespace), workloads.pod(name, namespace, "http"))
    secret = 0.0
    if len(pod["spec"].get("initContainers", ())) == 2:
        uid = pod["metadata"]["uid"]
        secret = await seen_ms(
            client, SECRETS, namespace, began, lambda each: uid in str(each["metadata"].get("ownerReferences"))
        )
    ready = await seen_ms(
        client, PODS, namespace, began, lambda each: each["metadata"]["name"] == name and is_ready(each)
    )
    return secret, ready


@pytest.mark.timeout(600)
async def test_from_a_pod_to_its_secret_and_to_ready(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, record_property: Record
) -> None:
    meshed, plain = namespace("meshed", inject=True), namespace("plain")
    secrets, readies, plain_readies = [], [], []
    async with api(cluster) as client:
        for number in range(PODS_MEASURED):
            secret, ready = await start_to_ready(client, workloads, meshed, f"p{number}")
            _, without = await start_to_ready(client, workloads, plain, f"p{number}")
            secrets.append(secret)
            readies.append(ready)
            plain_readies.append(without)
    figures = {
        "secret_ms_median": round(statistics.median(secrets)),
        "ready_ms_median": round(statistics.median(readies)),
        "ready_without_injection_ms_median": round(statistics.median(plain_readies)),
    }
    record_property("pod start", figures)
    assert all(value > 0 for value in figures.values())


@pytest.mark.timeout(300)
def test_the_memory_of_idle_sidecars(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, record_property: Record
) -> None:
    here = namespace(inject=True)
    cluster.apply_ready(*(workloads.pod(f"idle{number}", here, "http") for number in range(3)), timeout_s=PATIENCE_S)
    script = (
        "for file in $(grep -lsa 'handfast-sidecar.proxy' /proc/[0-9]*/cmdline); do"
        " echo; cat ${file%cmdline}smaps_rollup 2>/dev/null; done; true"
    )
    sizes = [each for each in cluster.on_node("sh", "-c", script).split("\n\n") if "Rss:" in each]
    rss = [sum(map(int, re.findall(r"^Rss:\s+(\d+) kB", each, re.MULTILINE))) for each in sizes]
    private = [sum(map(int, re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", each, re.MULTILINE))) for each in sizes]
    figures = {
        "sidecars": len(rss),
        "rss_kb_median": statistics.median(rss),
        "private_kb_median": statistics.median(private),
    }
    record_property("sidecar memory", figures)
    assert len(rss) >= 3
