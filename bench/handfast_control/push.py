"""From a policy's write to the API server until every connected sidecar enforces it.

One API server, one replica of the directory, and the sidecars' clients in two processes. Without a kubeconfig of a
real cluster all of it is in a network namespace of its own, since the directory's ports are fixed.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from handfast_bench.identities import SETTINGS, TRUST_DOMAIN, Identities, Pod, write_files
from handfast_bench.limits import raise_open_files
from handfast_bench.namespaces import BenchFailed
from handfast_bench.rounds import say
from handfast_control.children import READY_S, python, said
from handfast_control.figures import Row, Table, percentile
from handfast_control.fleet import REAL, SIMULATED
from handfast_control.members import ACCOUNT, NAMESPACE, members
from handfast_control.role import server
from handfast_control.rules import Json, denying, mtls_policy
from handfast_operator.cluster.access import read_kubeconfig
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import MTLS_POLICIES, NAMESPACES, PODS

HOST: Final = "127.0.0.1"
FLEETS: Final = 2
"""Processes that hold the sidecars: more would only stand in each other's way on two cores."""
MOST_REAL: Final = 100
"""Sidecars; of more, each is simulated."""
QUIET_S: Final = 0.5
"""Between two changes, so that each is one of its own."""
WRITES: Final = 16
"""Pods that are created at once."""
FIRST_PORT: Final = 20_000
COLUMNS: Final = {
    "p50": "p50, ms",
    "p90": "p90, ms",
    "p99": "p99, ms",
    "max": "max, ms",
    "write": "of it the write, p50, ms",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run measures."""

    sidecars: Sequence[int]
    rules: Sequence[int]
    """Beside the one that changes."""
    changes: int


FULL: Final = Plan((100, 1000), (0, 100), 12)
QUICK: Final = Plan((10,), (0, 10), 2)
PLANS: Final = {"full": FULL, "quick": QUICK}


async def push(plan: Plan, folder: Path, kubeconfig: Path | None) -> Table:
    """Measure. `kubeconfig`: of a real cluster that has our kinds. Raises BenchFailed."""
    rows: list[Row] = []
    for count in plan.sidecars:
        here = folder / str(count)
        here.mkdir()
        async with AsyncExitStack() as stack:
            access = kubeconfig or here / "kubeconfig"
            if kubeconfig is None:
                await stack.enter_async_context(python("apiserver", here, "handfast_control.apiserver", access))
            client = await stack.enter_async_context(ApiClient.connect(read_kubeconfig(access)))
            rows += await _with_api(plan, count, here, access, client, stack)
    return Table("push", "From the write of a policy until every sidecar enforces it", COLUMNS, rows)


async def _with_api(
    plan: Plan, count: int, folder: Path, access: Path, client: ApiClient, stack: AsyncExitStack
) -> list[Row]:
    began = time.monotonic()
    await stack.enter_async_context(_namespace(client))
    identities = Identities()
    folders = await _pods(client, count, folder, identities)
    write_files(folder / "serving", identities.files(SETTINGS.directory_id, "handfast-directory"))
    words = server("directory", folder, access, folder / "serving", HANDFAST_LOG_LEVEL="warning")
    await (await stack.enter_async_context(words)).ready(READY_S)
    kind = SIMULATED if count > MOST_REAL else REAL
    parts = [folders[number::FLEETS] for number in range(FLEETS)]
    fleets = [
        await stack.enter_async_context(python(f"fleet-{number}", folder, "handfast_control.fleet", kind, *part))
        for number, part in enumerate(parts)
    ]
    say(f"{count:,} sidecars are connected after {time.monotonic() - began:.1f} s")
    await client.create(MTLS_POLICIES.within(NAMESPACE), mtls_policy(NAMESPACE, "changed", []))
    rows = []
    port = FIRST_PORT
    for rules in plan.rules:
        for each in denying(NAMESPACE, rules):
            await client.create(MTLS_POLICIES.within(NAMESPACE), each)
        latencies: list[float] = []
        writes: list[float] = []
        for _ in range(plan.changes):
            await asyncio.sleep(QUIET_S)
            port += 1
            wrote, moments = await _round(client, fleets, port)
            writes.append(wrote)
            latencies += moments
        simulated = " simulated" if kind == SIMULATED else ""
        what = f"{count:,}{simulated} sidecars, {rules + 1:,} rule{'s' if rules else ''}"
        rows.append(Row(what, _figures(latencies, writes)))
        say(f"{what}: p50 {percentile(latencies, 0.5):.0f} ms, max {max(latencies):.0f} ms, {plan.changes} changes")
    return rows


def _figures(latencies: Sequence[float], writes: Sequence[float]) -> Mapping[str, float | None]:
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: percentile(latencies, share) for name, share in shares.items()} | {"write": percentile(writes, 0.5)}


async def _round(
    client: ApiClient, fleets: Sequence[asyncio.subprocess.Process], port: int
) -> tuple[float, list[float]]:
    """One change: milliseconds of its write, and from before the write until it is in force, for each sidecar."""
    deny = [{"from": [{"principal": f"spiffe://{TRUST_DOMAIN}/ns/sandbox/sa/*"}], "ports": [port]}]
    for each in fleets:
        await said(each, f"{port}\n", expected="armed")
    began = time.monotonic()
    await client.patch(MTLS_POLICIES.item(NAMESPACE, "changed"), {"spec": {"deny": deny}})
    wrote = time.monotonic()
    told = await asyncio.gather(*(said(each) for each in fleets))
    return 1000 * (wrote - began), [1000 * (moment - began) for line in told for moment in json.loads(line)]


@asynccontextmanager
async def _namespace(client: ApiClient) -> AsyncIterator[None]:
    """Ours alone; it goes with the block. Raises BenchFailed where our kinds are missing."""
    try:
        await client.get(MTLS_POLICIES.path, {"limit": "1"})
        await client.create(NAMESPACES.path, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    except ApiError as error:
        raise BenchFailed(f"cannot begin: {error}; are the CRDs installed, and is there no {NAMESPACE}?") from error
    try:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": NAMESPACE}}
        await client.create(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", account)
        yield
    finally:
        await client.delete(NAMESPACES.item("", NAMESPACE))


async def _pods(client: ApiClient, count: int, folder: Path, identities: Identities) -> list[Path]:
    """So many pods as the API server knows them, and the folder of each one's Secret."""
    places = asyncio.Semaphore(WRITES)

    async def one(body: Json, ip: str) -> Path:
        async with places:
            meta = (await client.create(PODS.within(NAMESPACE), body))["metadata"]
            name, uid = str(meta["name"]), str(meta["uid"])
            status = {"status": {"podIPs": [{"ip": ip}], "podIP": ip, "phase": "Running"}}
            await client.patch(f"{PODS.item(NAMESPACE, name)}/status", status)
        where = folder / name
        pod = replace(Pod(name, ip, uid, namespace=NAMESPACE), account=ACCOUNT)
        identities.write_pod(pod, where, ttl=timedelta(hours=1), revision=0, directory_host=HOST)
        return where

    return list(await asyncio.gather(*(one(each.manifest(), each.ip) for each in members(count))))


def main() -> int:
    """`python -m handfast_control.push PLAN FOLDER [KUBECONFIG]`: its one table as JSON on standard output."""
    plan, folder = PLANS[sys.argv[1]], Path(sys.argv[2])
    kubeconfig = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    raise_open_files()
    try:
        table = asyncio.run(push(plan, folder, kubeconfig))
    except BenchFailed as error:
        say(f"error: {error}")
        return 1
    print(json.dumps([table.to_json()]))  # noqa: T201 - a command's own output
    return 0


if __name__ == "__main__":
    sys.exit(main())
