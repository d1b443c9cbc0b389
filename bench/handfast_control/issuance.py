"""Ten thousand pods want an identity at once: how long until each has its Secret, and what that costs whom.

The API server is the real one where its binaries are at hand, else the lab's. The controller is the operator's own
verb in a process of its own. The pods are objects that nobody schedules. All of it is in a network namespace of its
own, since the controller's ports are fixed.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from handfast_bench.limits import raise_open_files
from handfast_bench.namespaces import BenchFailed
from handfast_bench.rounds import say
from handfast_control.exposition import Between, Samples, parse
from handfast_control.figures import Figures, Row, Table
from handfast_control.installation import prepare
from handfast_control.kubernetes import Server, api_server
from handfast_control.role import Controller, controller
from handfast_control.usage import Usage, usage_of
from handfast_control.waiting import NAMESPACES, waiting_pod
from handfast_operator.cluster.access import read_kubeconfig
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import METADATA_ONLY, PODS, SECRETS_META
from handfast_sidecar.wellknown import CONTROLLER_ACCOUNT, LABEL_IDENTITY

PODS_AT_ONCE: Final = {"full": 10_000, "quick": 100}
WORKERS: Final = 16
"""Pods that are created at once: more than this only wait for one another."""
READY_S: Final = 60.0
LIMIT_S: Final = 600.0
REST_S: Final = {"full": 5.0, "quick": 0.5}
"""After the last Secret, before memory at rest is read."""
_HISTOGRAM: Final = "apiserver_request_duration_seconds"
_REJECTED: Final = "apiserver_flowcontrol_rejected_requests_total"
_REQUESTS: Final = "apiserver_request_total"
_WRITES: Final = {"resource": "secrets", "verb": "POST"}
FEW: Final = 500
"""As many as cert-manager's own test of its speed issues."""
COLUMNS: Final = {
    "few": f"until {FEW} have theirs, s",
    "wall": "until all have theirs, s",
    "rate": "Secrets/s",
    "own": "controller's CPU, s",
    "unserved": "it waited for a core, s",
    "server": "API server's and etcd's CPU, s",
    "peak": "controller's memory, peak, MiB",
    "rest": "at rest, MiB",
}
SERVER_COLUMNS: Final = {
    "requests": "requests",
    "p50": "a Secret's creation, p50, ms",
    "p99": "p99, ms",
    "in_flight": "in flight, mean",
    "refused": "refused (429)",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """What everybody had used at a time."""

    at: float
    server_cpu_s: float
    samples: Samples


class Issuance:
    """One API server, one controller at a time."""

    def __init__(
        self, client: ApiClient, server: Server, folder: Path, kubeconfig: Path, pods: int, rest_s: float
    ) -> None:
        self._client, self._server, self._folder = client, server, folder
        self._kubeconfig, self._pods, self._rest_s = kubeconfig, pods, rest_s
        self.rows: list[Row] = []
        self.server_rows: list[Row] = []

    async def measure(self) -> None:
        """All three ways in which pods come to a controller. Raises BenchFailed."""
        began = time.monotonic()
        await self._create_pods()
        say(f"{self._pods:,} pods are created in {time.monotonic() - began:.1f} s while no controller runs")
        await self._taken_over()
        await self._again()
        await self._remove(PODS.plural)
        await self._remove(f"{SECRETS_META.plural}?labelSelector={LABEL_IDENTITY}%3Dtrue")
        await self._appearing()

    async def _appearing(self) -> None:
        async with controller(self._folder, self._kubeconfig) as running:
            await running.ready(READY_S)
            began, before = running.usage(), await self._moment()
            await self._create_pods()
            created = time.monotonic()
            done = await running.issued(self._pods, LIMIT_S)
            say(f"pods are created in {created - before.at:.1f} s, and {done - created:.1f} s later all have Secrets")
            what = f"{self._pods:,} pods are created while it runs"
            await self._tell(what, running, done - before.at, began, before)

    async def _taken_over(self) -> None:
        before = await self._moment()
        async with controller(self._folder, self._kubeconfig) as running:
            few = await running.issued(min(FEW, self._pods), LIMIT_S)
            done = await running.issued(self._pods, LIMIT_S)
            what = f"{self._pods:,} pods wait when it starts"
            await self._tell(what, running, done - running.began, None, before, few=few - running.began)

    async def _again(self) -> None:
        before = await self._moment()
        async with controller(self._folder, self._kubeconfig) as running:
            done = await running.ready(READY_S)
            await running.until(lambda counts: not counts["queued"], LIMIT_S)
            await self._tell(
                f"{self._pods:,} pods have theirs when it starts", running, done - running.began, None, before
            )

    async def _tell(
        self,
        what: str,
        running: Controller,
        wall: float,
        began: Usage | None,
        before: Moment,
        *,
        few: float | None = None,
    ) -> None:
        """A row of each table, for what happened since `before`; `began`: what the controller had used then."""
        used, after = running.usage(), await self._moment()
        between = Between(before.samples, after.samples)
        wrote = int((await running.counts()).get("issued", 0))
        await self._check()
        await asyncio.sleep(self._rest_s)
        settled = running.usage()
        own = used.cpu_s - (began.cpu_s if began else 0)
        figures: Figures = {
            "few": few if self._pods >= FEW else None,
            "wall": wall,
            "rate": wrote / wall if wrote else None,
            "own": own,
            "unserved": used.queued_s - (began.queued_s if began else 0),
            "server": after.server_cpu_s - before.server_cpu_s,
            "peak": settled.peak_mb,
            "rest": settled.resident_mb,
        }
        self.rows.append(Row(what, figures))
        say(f"{what}: {wall:.1f} s, of the controller {own:.1f} s of CPU; memory up to {settled.peak_mb:.0f} MiB")
        if after.samples:
            seconds = between.total(f"{_HISTOGRAM}_sum", **_WRITES)
            p50, p99 = (between.quantile(_HISTOGRAM, share, **_WRITES) for share in (0.5, 0.99))
            server: Figures = {
                "requests": between.total(_REQUESTS),
                "p50": p50 and 1000 * p50,
                "p99": p99 and 1000 * p99,
                "in_flight": seconds / wall,
                "refused": between.total(_REQUESTS, code="429") + between.total(_REJECTED),
            }
            self.server_rows.append(Row(what, server))

    async def _check(self) -> None:
        """That every pod has its Secret. Raises BenchFailed."""
        found = 0
        params = {"limit": "1000", "labelSelector": SECRETS_META.selector}
        while True:
            page = await self._client.get(SECRETS_META.path, params, accept=METADATA_ONLY)
            found += len(page.get("items") or ())
            if not (following := (page.get("metadata") or {}).get("continue")):
                break
            params = {**params, "continue": following}
        if found != self._pods:
            raise BenchFailed(f"there are {found} Secrets for {self._pods} pods: see {self._folder}/controller.log")

    async def _create_pods(self) -> None:
        numbers = iter(range(self._pods))

        async def work() -> None:
            for number in numbers:
                pod = waiting_pod(number)
                await self._client.create(PODS.within(pod["metadata"]["namespace"]), pod)

        await asyncio.gather(*(work() for _ in range(WORKERS)))

    async def _remove(self, what: str) -> None:
        for namespace in NAMESPACES:
            await self._client.delete(f"/api/v1/namespaces/{namespace}/{what}")

    async def _moment(self) -> Moment:
        try:
            text = str((await self._client.get("/metrics")).get("text", ""))
        except ApiError:
            text = ""  # the lab's API server counts nothing
        samples = parse(text, (_HISTOGRAM, _REJECTED, _REQUESTS))
        cpu = sum(usage_of(pid).cpu_s for pid in self._server.pids)
        return Moment(time.monotonic(), cpu, samples)


async def issuance(plan: str, folder: Path, pods: int) -> list[Table]:
    """Measure. Raises BenchFailed."""
    async with api_server(plan, folder) as server, ApiClient.connect(read_kubeconfig(server.kubeconfig)) as client:
        access = await prepare(client, server, folder, [CONTROLLER_ACCOUNT])
        run = Issuance(client, server, folder, access[CONTROLLER_ACCOUNT], pods, REST_S[plan])
        await run.measure()
    tables = [Table("issuance", f"Secrets of pods that come at once ({server.name})", COLUMNS, run.rows)]
    if run.server_rows:
        tables.append(Table("issuance-server", "The same as the API server counts it", SERVER_COLUMNS, run.server_rows))
    return tables


def main() -> int:
    """`python -m handfast_control.issuance full|quick FOLDER [PODS]`: the tables as JSON on standard output."""
    plan, folder = sys.argv[1], Path(sys.argv[2])
    pods = int(sys.argv[3]) if len(sys.argv) > 3 else PODS_AT_ONCE[plan]
    raise_open_files()
    try:
        tables = asyncio.run(issuance(plan, folder, pods))
    except (BenchFailed, ApiError) as error:
        say(f"error: {error}")
        return 1
    print(json.dumps([each.to_json() for each in tables]))  # noqa: T201 - a command's own output
    return 0


if __name__ == "__main__":
    sys.exit(main())
