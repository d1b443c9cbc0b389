"""The node agent: follows the API, binds pods to its node and runs each of them.

Also the lab's scheduler: there is one node, so every pod goes there.
"""

import asyncio
import base64
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from handfast_lab.api.port import Api
from handfast_lab.api.problems import ApiProblem
from handfast_lab.node.pod import PodRun
from handfast_lab.node.recipe import World
from handfast_lab.node.seams import Images, Json, NodeFacts, PodNetwork, Tokens
from handfast_lab.node.status import timestamp

log = logging.getLogger(__name__)
_ALREADY_THERE: Final = 409
_RETRY_S: Final = 5
"""Seconds until a pod is tried again whose network, say, could not be made."""


class Agent:
    """kubelet's part in the lab."""

    def __init__(
        self,
        api: Api,
        network: PodNetwork,
        images: Images,
        *,
        state: Path,
        node: NodeFacts,
        tokens: Tokens | None = None,
    ) -> None:
        self._api = api
        self._node = node
        self._world = World(api, network, images, node, state, tokens)
        self._runs: dict[str, PodRun] = {}
        self._held: dict[str, dict[tuple[str, str], Mapping[str, bytes]]] = defaultdict(dict)

    async def run(self) -> None:
        """Until cancelled; then every process of every pod ends."""
        (self._world.state / "root").mkdir(parents=True, exist_ok=True)
        await self._register()
        async with asyncio.TaskGroup() as group:
            for resource in ("secrets", "configmaps"):
                group.create_task(self._follow_data(resource))
            group.create_task(self._follow_pods(group))

    async def log(
        self, pod: Json, container: str, *, follow: bool, previous: bool, tail: int | None, timestamps: bool
    ) -> AsyncIterator[bytes]:
        """A container's output, line by line. Raises LookupError when there is none."""
        found = self._run(pod).runner(container).log(previous=previous)
        async for line in found.lines(follow=follow, tail=tail, timestamps=timestamps):
            yield line

    async def spawn(self, pod: Json, container: str, command: list[str], tty: bool) -> asyncio.subprocess.Process:
        """A process in a running container. Raises LookupError when it does not run."""
        return await self._run(pod).runner(container).spawn(command, tty=tty)

    async def dial(self, pod: Json, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a port of the pod's loopback. Raises LookupError when the pod does not run, OSError."""
        return await self._run(pod).dial(port)

    def _run(self, pod: Json) -> PodRun:
        try:
            return self._runs[pod["metadata"]["uid"]]
        except KeyError:
            raise LookupError(f'pod "{pod["metadata"]["name"]}" does not run here') from None

    async def _register(self) -> None:
        now, name = timestamp(datetime.now(UTC)), self._node.name
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the lab's node is ready"}
        addresses = [("InternalIP", self._node.address), ("Hostname", name)]
        status = {
            "addresses": [{"type": kind, "address": address} for kind, address in addresses],
            "conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}],
        }
        cidrs = {"podCIDR": self._node.pod_cidrs[0], "podCIDRs": list(self._node.pod_cidrs)}
        meta = {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}}
        try:
            await self._api.create({"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": cidrs})
        except ApiProblem as problem:
            if problem.code != _ALREADY_THERE:
                raise
        await self._api.patch("nodes", "", name, {"status": status}, subresource="status")

    async def _follow_data(self, resource: str) -> None:
        async for event in self._api.watch(resource):
            meta = event.object["metadata"]
            key = (meta["namespace"], meta["name"])
            if event.type == "DELETED":
                self._held[resource].pop(key, None)
            else:
                self._held[resource][key] = _contents(event.object)
            for run in self._runs.values():
                if run.pod["metadata"]["namespace"] == meta["namespace"]:
                    run.look()

    async def _follow_pods(self, group: asyncio.TaskGroup) -> None:
        async for event in self._api.watch("pods"):
            pod, uid = event.object, event.object["metadata"]["uid"]
            if event.type == "DELETED":
                if uid in self._runs:
                    self._runs.pop(uid).remove()
            elif not pod["spec"].get("nodeName"):
                await self._bind(pod)
            elif pod["spec"]["nodeName"] == self._node.name:
                if uid in self._runs:
                    self._runs[uid].update(pod)
                else:
                    run = self._runs[uid] = PodRun(self._world, pod, partial(self._data, pod["metadata"]["namespace"]))
                    group.create_task(self._supervise(run))

    def _data(self, namespace: str, resource: str, name: str) -> Mapping[str, bytes] | None:
        return self._held[resource].get((namespace, name))

    async def _supervise(self, run: PodRun) -> None:
        """Run a pod until it is deleted. No pod's failure is another's."""
        meta = run.pod["metadata"]
        while True:
            try:
                await run.run()
                return
            except Exception as problem:
                log.exception("a pod fails, and is tried again", extra={"pod": meta["name"]})
                await run.complain(problem)
            await asyncio.sleep(_RETRY_S)
            if meta["uid"] not in self._runs:
                return
            run = self._runs[meta["uid"]] = PodRun(self._world, run.pod, partial(self._data, meta["namespace"]))

    async def _bind(self, pod: Json) -> None:
        """What the scheduler and its binding do."""
        meta = pod["metadata"]
        condition = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(datetime.now(UTC)),
        }
        others = [each for each in (pod.get("status") or {}).get("conditions") or () if each["type"] != "PodScheduled"]
        try:
            await self._api.patch(
                "pods",
                meta["namespace"],
                meta["name"],
                {"status": {"conditions": [*others, condition]}},
                subresource="status",
            )
            await self._api.patch("pods", meta["namespace"], meta["name"], {"spec": {"nodeName": self._node.name}})
        except ApiProblem as problem:
            log.debug("a pod is not bound", extra={"pod": meta["name"], "detail": problem.message})


def _contents(source: Json) -> Mapping[str, bytes]:
    """What a Secret or a ConfigMap holds."""
    data = source.get("data") or {}
    if source["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary = source.get("binaryData") or {}
    return {key: value.encode() for key, value in data.items()} | {
        key: base64.b64decode(value) for key, value in binary.items()
    }
