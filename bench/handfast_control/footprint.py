"""What the control plane costs while nothing happens: memory and processor of each part, idle and with so many pods.

One replica of each role, a process of its own, calling as its own service account. Pods are objects that nobody
schedules; their Secrets are the controller's work. Each pod's sidecar is a stream to the directory, of its own leaf,
that watches its peers and reports every ten seconds. All of them are in a few processes, which are not counted.
"""

import asyncio
import base64
import json
import os
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp

from handfast_bench.limits import raise_open_files
from handfast_bench.namespaces import BenchFailed
from handfast_bench.rounds import say
from handfast_control.children import READY_S, python
from handfast_control.figures import Row, Table
from handfast_control.fleet import REPLICAS, STEADY
from handfast_control.installation import SYSTEM, prepare
from handfast_control.kubernetes import Server, api_server
from handfast_control.members import Member
from handfast_control.role import Role, controller, server
from handfast_control.rules import denying
from handfast_control.usage import Usage, private_mb, usage_of
from handfast_control.waiting import NAMESPACES, waiting_pod
from handfast_lab.node import volumes
from handfast_operator.cluster.access import read_kubeconfig
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import MTLS_POLICIES, PODS, SECRETS
from handfast_operator.cluster.kinds import NAMESPACES as NAMESPACE_OBJECTS
from handfast_operator.cluster.objects import parse_pod
from handfast_sidecar.config.document import SidecarConfig
from handfast_sidecar.wellknown import (
    CONTROLLER_ACCOUNT,
    DIRECTORY_ACCOUNT,
    FILE_BUNDLE,
    FILE_CONFIG,
    INJECT_ENABLED,
    LABEL_INJECT,
    PROXY_CONTAINER,
    WEBHOOK_ACCOUNT,
    WEBHOOK_PORT,
)

Json = dict[str, Any]
HOST: Final = "127.0.0.1"
FLEETS: Final = 2
"""Processes that hold the sidecars that come at one time."""
WORKERS: Final = 2
"""Pods that are created at once. How fast is not measured here, and the Lease wants an API server that has time."""
ISSUED_S: Final = 300.0
ACCOUNTS: Final = (CONTROLLER_ACCOUNT, WEBHOOK_ACCOUNT, DIRECTORY_ACCOUNT)
RULES: Final = 10
"""Of the one policy that each namespace has."""
ADMISSIONS: Final = "handfast-bench-admissions"
"""A namespace that opted in and has no pods: reviews name it, so that the API server need not reach the webhook."""
_NOBODY: Final = "handfast-bench-nobody"
_SECRET_MODE: Final = 0o600
COLUMNS: Final = {
    "rss": "resident, MiB",
    "private": "private, MiB",
    "peak": "resident at most, MiB",
    "minute": "CPU a minute, s",
    "before": "CPU until then, s",
    "load": "load of the machine",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it is measured."""

    pods: Sequence[int]
    settle_s: float
    """After the last sidecar has connected."""
    window_s: float


PLANS: Final = {"full": Plan((0, 100, 1000), 25, 60), "quick": Plan((0, 10), 0.2, 1)}


class Footprint:
    """A control plane that pods are added to."""

    def __init__(self, plan: Plan, folder: Path, client: ApiClient, api: Server, stack: AsyncExitStack) -> None:
        """The processes end with `stack`."""
        self._plan, self._folder, self._stack = plan, folder, stack
        self._client, self._api = client, api
        self._access: Mapping[str, Path] = {}
        self._roles: dict[str, Role] = {}
        self._fleets: list[int] = []
        """Processes of simulated sidecars."""
        self._there = 0
        self.rows: list[Row] = []

    async def measure(self) -> None:
        """Every number of pods in turn. Raises BenchFailed, ApiError."""
        self._access = await prepare(self._client, self._api, self._folder, ACCOUNTS)
        issuing = await self._stack.enter_async_context(controller(self._folder, self._access[CONTROLLER_ACCOUNT]))
        await issuing.ready(READY_S)
        self._roles["controller"] = issuing
        await self._start("webhook", WEBHOOK_ACCOUNT)
        await self._start("directory", DIRECTORY_ACCOUNT)
        await self._directory_pod()
        await self._client.create(NAMESPACE_OBJECTS.path, _namespace(ADMISSIONS))
        for count in self._plan.pods:
            began = time.monotonic()
            if count:
                added = await self._add(range(self._there, count))
                await issuing.issued(count, ISSUED_S)
                await self._connect(added)
            self._there = count
            say(f"{count:,} pods have their identity and their sidecar's stream after {time.monotonic() - began:.1f} s")
            await asyncio.sleep(self._plan.settle_s)
            await self._window(f"{count:,} pods" if count else "idle")

    # --- who is measured

    async def _start(self, role: str, account: str) -> None:
        """With the certificate that the controller made for it."""
        place = self._folder / f"{role}-tls"
        place.mkdir()
        for name, content in (await self._secret(SYSTEM, f"handfast-{role}-tls")).items():
            (place / name).write_bytes(content)
        running = server(role, self._folder, self._access[account], place)
        self._roles[role] = await self._stack.enter_async_context(running)
        await self._roles[role].ready(READY_S)

    async def _directory_pod(self) -> None:
        """By it the controller finds the directory, and listens to its evidence."""
        spec = {
            "serviceAccountName": DIRECTORY_ACCOUNT,
            "schedulerName": _NOBODY,
            "containers": [{"name": "directory", "image": "handfast-bench.invalid/none"}],
        }
        meta = {"name": "handfast-directory-bench", "namespace": SYSTEM}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        await self._client.create(PODS.within(SYSTEM), pod)
        await self._run(SYSTEM, meta["name"], HOST, [])

    # --- what they work for

    async def _add(self, numbers: Sequence[int]) -> list[Json]:
        """Pods that the webhook has reviewed; as the API server has them then."""
        if not self._there:
            for namespace in NAMESPACES:
                for each in denying(namespace, RULES):
                    await self._client.create(MTLS_POLICIES.within(namespace), each)
        context = ssl.create_default_context(cafile=self._folder / "webhook-tls" / FILE_BUNDLE)
        waiting, made = iter(numbers), dict[int, Json]()

        async def work(session: aiohttp.ClientSession) -> None:
            for number in waiting:
                pod = waiting_pod(number, REPLICAS)
                await self._review(session, pod)
                namespace = pod["metadata"]["namespace"]
                made[number] = await self._client.create(PODS.within(namespace), pod)
                await self._run(namespace, pod["metadata"]["name"], Member(number).ip, [PROXY_CONTAINER])

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            await asyncio.gather(*(work(session) for _ in range(WORKERS)))
        return [made[number] for number in numbers]

    async def _review(self, session: aiohttp.ClientSession, pod: Json) -> None:
        """As the API server asks when a pod is created. Raises BenchFailed."""
        request = {"uid": pod["metadata"]["name"], "namespace": ADMISSIONS, "object": pod}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        url, name = f"https://{HOST}:{WEBHOOK_PORT}/inject", f"{WEBHOOK_ACCOUNT}.{SYSTEM}.svc"
        async with session.post(url, json=review, server_hostname=name) as answer:
            said = await answer.json()
        if not said["response"]["allowed"]:
            raise BenchFailed(f"the webhook refuses a pod: {said}")

    async def _run(self, namespace: str, name: str, ip: str, sidecars: Sequence[str]) -> None:
        """As kubelet tells of a pod that runs."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        states = [
            {"name": each, "image": "none", "imageID": "", "ready": True, "restartCount": 0}
            | {"state": {"running": {"startedAt": now}}}
            for each in sidecars
        ]
        status = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
            "initContainerStatuses": states,
        }
        await self._client.patch(f"{PODS.item(namespace, name)}/status", {"status": status})

    async def _connect(self, added: Sequence[Json]) -> None:
        """The sidecar of each, with the Secret that the controller wrote."""
        folders = []
        for each in map(parse_pod, added):
            files = await self._secret(each.namespace, each.secret)
            config = SidecarConfig.parse(files[FILE_CONFIG])
            # No kube-proxy leads from the Service's address to the directory.
            config = replace(config, directory=replace(config.directory, host=HOST))
            files[FILE_CONFIG] = config.dump().encode()
            folders.append(self._folder / "sidecars" / each.name)
            folders[-1].mkdir(parents=True)
            volumes.write(folders[-1], {name: (content, _SECRET_MODE) for name, content in files.items()})
        for part in (folders[number::FLEETS] for number in range(FLEETS)):
            name = f"fleet-{len(self._fleets)}"
            fleet = python(name, self._folder, "handfast_control.fleet", STEADY, *part)
            self._fleets.append((await self._stack.enter_async_context(fleet)).pid)

    async def _secret(self, namespace: str, name: str) -> dict[str, bytes]:
        found = await self._client.get(SECRETS.item(namespace, name))
        return {key: base64.b64decode(value) for key, value in found["data"].items()}

    # --- what they cost

    async def _window(self, what: str) -> None:
        watched = {name: (role.pid,) for name, role in self._roles.items()}
        beside = {"API server and etcd": self._api.pids, "their sidecars, simulated": tuple(self._fleets)}
        before = {name: _used(pids) for name, pids in (watched | beside).items()}
        began = time.monotonic()
        await asyncio.sleep(self._plan.window_s)
        for each in self._roles.values():
            each.check()
        minutes = (time.monotonic() - began) / 60
        rows = {name: _figures(pids, before[name], minutes) for name, pids in (watched | beside).items() if pids}
        parts = [rows[name] for name in watched]
        whole = {name: sum(each[name] for each in parts) for name in parts[0]}
        rows = {**{name: rows.pop(name) for name in watched}, "all three": whole, **rows}
        load = round(os.getloadavg()[0], 2)
        self.rows += [Row(f"{what}: {name}", {**figures, "load": load}) for name, figures in rows.items()]
        say(f"{what}: {whole['rss']:.0f} MiB, {whole['minute']:.2f} s of CPU a minute, at a load of {load}")


def _used(pids: Sequence[int]) -> list[Usage]:
    return [usage_of(pid) for pid in pids]


def _figures(pids: Sequence[int], before: Sequence[Usage], minutes: float) -> dict[str, float]:
    after = _used(pids)
    spent = sum(each.cpu_s for each in before)
    return {
        "rss": sum(each.resident_mb for each in after),
        "private": sum(private_mb(pid) for pid in pids),
        "peak": sum(each.peak_mb for each in after),
        "minute": (sum(each.cpu_s for each in after) - spent) / minutes,
        "before": spent,
    }


def _namespace(name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {LABEL_INJECT: INJECT_ENABLED}},
    }


async def footprint(plan: Plan, name: str, folder: Path) -> Table:
    """Measure. Raises BenchFailed, ApiError."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(api_server(name, folder))
        client = await stack.enter_async_context(ApiClient.connect(read_kubeconfig(api.kubeconfig)))
        run = Footprint(plan, folder, client, api, stack)
        await run.measure()
    return Table("footprint", f"The control plane while nothing happens ({api.name})", COLUMNS, run.rows)


def main() -> int:
    """`python -m handfast_control.footprint full|quick FOLDER`: its one table as JSON on standard output."""
    plan, folder = sys.argv[1], Path(sys.argv[2])
    raise_open_files()
    try:
        table = asyncio.run(footprint(PLANS[plan], plan, folder))
    except (BenchFailed, ApiError) as error:
        say(f"error: {error}")
        return 1
    print(json.dumps([table.to_json()]))  # noqa: T201 - a command's own output
    return 0


if __name__ == "__main__":
    sys.exit(main())
