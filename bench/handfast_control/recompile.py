"""What a changed policy costs the directory: to compile it for a namespace of many pods, and to write it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from time import perf_counter
from typing import Any, Final

from handfast_bench.identities import TRUST_DOMAIN
from handfast_control.figures import Row, Table, percentile
from handfast_control.members import NAMESPACE, WORKLOADS, Member, members
from handfast_control.rules import denying, mtls_policy
from handfast_operator.cluster.objects import Namespace, Pod, parse_pod
from handfast_operator.cluster.services import EndpointSlice, Service
from handfast_operator.cluster.store import Store
from handfast_operator.directory.index import AddressIndex
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.parse import parse_mtls_policy
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy
from handfast_sidecar.directory.codec import decode_from_directory, encode
from handfast_sidecar.directory.messages import PolicyUpdate
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.policy.in_force import PolicyInForce

PODS: Final = 1_000
RULES: Final = (1, 100, 1_000)
COLUMNS: Final = {
    "compile_p50": "compiled, p50, ms",
    "compile_max": "max, ms",
    "write": "written as a line, p50, ms",
    "read": "read by one sidecar, p50, ms",
}


@dataclass
class _Namespace:
    """The directory's stores and indexes, over one namespace."""

    pods: Store[Pod]
    policies: Store[MtlsPolicy]
    index: PolicyIndex
    told: list[Pod]
    _versions: Iterable[int]

    @classmethod
    def of(cls, everybody: Sequence[Member]) -> "_Namespace":
        pods, policies, namespaces = Store[Pod](), Store[MtlsPolicy](), Store[Namespace]()
        index = PolicyIndex(pods, namespaces, policies, Store[ClusterMtlsPolicy](), TRUST_DOMAIN)
        AddressIndex(TRUST_DOMAIN, pods, Store[Service](), Store[EndpointSlice](), index)
        made = cls(pods, policies, index, [], count(1))
        index.subscribe(made.told.append)
        for each in everybody:
            raw = each.manifest() | {"status": {"phase": "Running", "podIPs": [{"ip": each.ip}]}}
            pods.put(parse_pod(made._stored(raw, each.name)))
        return made

    def write(self, raw: dict[str, Any]) -> None:
        """As the reflector does."""
        name = raw["metadata"]["name"]
        self.policies.put(parse_mtls_policy(self._stored(raw, name)))

    def line(self, pod: Pod) -> bytes:
        """To its sidecar; the pods of a workload share one."""
        return encode(PolicyUpdate(self.index.revision, self.index.compiled(pod).policy))

    def _stored(self, raw: dict[str, Any], name: str) -> dict[str, Any]:
        version = next(iter(self._versions))
        of_server = {"uid": name, "resourceVersion": str(version), "generation": version}
        return raw | {"metadata": raw["metadata"] | of_server | {"creationTimestamp": "2026-01-01T00:00:00Z"}}


def recompile(changes: int, *, pods: int = PODS, rules: Sequence[int] = RULES) -> Table:
    """Measure so many changes of one policy beside those that hold the rules."""
    return Table(
        "recompile",
        f"A change of policy in a namespace of {pods:,} pods of {WORKLOADS} workloads",
        COLUMNS,
        [_measured(each, changes, pods) for each in rules],
    )


def _measured(rules: int, changes: int, pods: int) -> Row:
    here = _Namespace.of(members(pods))
    for each in denying(NAMESPACE, rules):
        here.write(each)
    for pod in here.pods:
        here.index.compiled(pod)  # as when every sidecar is connected
    compiled, written, read = [], [], []
    for number in range(changes):
        here.told.clear()
        raw = mtls_policy(NAMESPACE, "changed", [{"from": [{"serviceAccount": "x"}], "ports": [number + 1]}])
        began = perf_counter()
        here.write(raw)
        compiled.append(1000 * (perf_counter() - began))
        if len(here.told) != pods:
            raise ValueError(f"{len(here.told)} of {pods} pods were told")
        began = perf_counter()
        line = here.line(here.told[0])
        written.append(1000 * (perf_counter() - began))
        read.append(_read(line))
    figures = {
        "compile_p50": percentile(compiled, 0.5),
        "compile_max": max(compiled),
        "write": percentile(written, 0.5),
        "read": percentile(read, 0.5),
    }
    return Row(f"{rules:,} rule{'' if rules == 1 else 's'}", figures)


def _read(line: bytes) -> float:
    """Milliseconds until a sidecar has it in force."""

    in_force = PolicyInForce(EffectivePolicy(), 0)
    began = perf_counter()
    message = decode_from_directory(line)
    if not isinstance(message, PolicyUpdate) or not in_force.offer(message.policy, message.revision):
        raise ValueError(f"no policy: {line[:80]!r}")
    return 1000 * (perf_counter() - began)
