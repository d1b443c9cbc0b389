"""A process of its own: the operator's directory over a cluster of two pods that never changes.

`python -m handfast_bench.directory SERVING_DIR NAME IPS UID [NAME IPS UID ...]`; it prints one line when it listens.
"""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from handfast_bench.identities import RANGES, SETTINGS, STRICT
from handfast_bench.identities import Pod as BenchPod
from handfast_bench.namespaces import CONTROL_IP
from handfast_operator.cluster.objects import Pod, parse_pod
from handfast_operator.cluster.services import EndpointSlice, Service
from handfast_operator.cluster.store import Store
from handfast_operator.directory.acceptor import listen
from handfast_operator.directory.server import DirectoryServer
from handfast_sidecar.config.document import parse_ranges
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.wellknown import DIRECTORY_PORT


@dataclass(frozen=True)
class _Compiled:
    policy: EffectivePolicy


class _OnePolicy:
    """The same for every pod, for ever."""

    revision = 1

    def compiled(self, _pod: Pod) -> _Compiled:
        return _Compiled(STRICT)

    def subscribe(self, listener: Callable[[Pod], None]) -> None:
        """Nothing changes."""


def _meshed(pod: BenchPod) -> Pod:
    raw = {
        "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid, "resourceVersion": "1"},
        "spec": {"serviceAccountName": pod.name},
        "status": {"phase": "Running", "podIPs": [{"ip": each} for each in pod.ips]},
    }
    return replace(parse_pod(raw), secret=f"{pod.name}-identity")


async def serve(serving: Path, pods: list[BenchPod]) -> None:
    """Until cancelled."""
    store: Store[Pod] = Store()
    services, slices = Store[Service](), Store[EndpointSlice]()
    settings = replace(SETTINGS, tls_dir=serving, cluster_ranges=parse_ranges(RANGES))
    server = DirectoryServer(settings, store, services, slices, _OnePolicy(), registry=Registry())
    for each in pods:
        store.put(_meshed(each))
    server.certificate.look()
    listener = listen(CONTROL_IP, DIRECTORY_PORT)
    print("ready", flush=True)  # noqa: T201 - whoever started us waits for it
    await server.serve(listener)


def _pod(name: str, ips: str, uid: str) -> BenchPod:
    ip, _, ip6 = ips.partition(",")
    return BenchPod(name, ip, uid, ip6=ip6)


if __name__ == "__main__":
    words = sys.argv[2:]
    asyncio.run(
        serve(
            Path(sys.argv[1]),
            [_pod(*each) for each in zip(words[::3], words[1::3], words[2::3], strict=True)],
        )
    )
