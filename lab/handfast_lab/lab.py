"""The lab: all of its parts, wired and running in the namespaces that it was started in.

The one rule: a part that fails ends the lab, with its error; half a cluster would mislead whoever looks at it.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import web

from handfast_lab.api.problems import ApiProblem, bad_request
from handfast_lab.api.registry import Registry
from handfast_lab.api.server import application
from handfast_lab.api.webhook_calls import WebhookCaller
from handfast_lab.controllers.endpointslices import EndpointSlices
from handfast_lab.controllers.workloads import Workloads
from handfast_lab.images import Programs, ours
from handfast_lab.network import isolation
from handfast_lab.network.addresses import (
    API_PORT,
    API_SERVICE,
    CLUSTER_DOMAIN,
    NODE_ADDRESS,
    POD_RANGES,
    SERVICE_RANGES,
)
from handfast_lab.network.dns import Names, resolv_conf
from handfast_lab.network.links import PodNetwork
from handfast_lab.network.services import ServiceProxy
from handfast_lab.node.agent import Agent
from handfast_lab.node.seams import ImageSpec, Json, NodeFacts
from handfast_lab.serving import Serving

HISTORY: Final = 4096
"""Changes that a watch can go back."""


class Lab:
    """A running one."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        """For programs inside; the one outside has another address."""

    @classmethod
    @asynccontextmanager
    async def running(
        cls, listen: int, *, kubeconfig: Path | None = None, images: Mapping[str, ImageSpec] | None = None
    ) -> "AsyncIterator[Lab]":
        """A lab that ends with the block. `listen`: descriptor of a socket outside; `kubeconfig`: to be written for it.

        Raises ExceptionGroup when a part fails, OSError or CommandFailed when it cannot begin.
        """
        isolation.settle()
        serving = Serving()
        inside = isolation.STATE / "kubeconfig"
        serving.write_kubeconfig(inside, f"https://{NODE_ADDRESS}:{API_PORT}")
        outside = socket.socket(fileno=listen)
        if kubeconfig is not None:
            serving.write_kubeconfig(kubeconfig, f"https://127.0.0.1:{outside.getsockname()[1]}")
        async with _parts(serving, outside, Programs({**ours(), **(images or {})})):
            yield cls(inside)


@asynccontextmanager
async def _parts(serving: Serving, outside: socket.socket, images: Programs) -> AsyncIterator[None]:
    async def resolve(namespace: str, name: str, port: int) -> tuple[str, int]:
        """As the real API server dials webhooks: by the Service's address, which the node's rules rewrite."""
        try:
            return registry.get("services", namespace, name)["spec"]["clusterIP"], port
        except ApiProblem as problem:
            raise OSError(problem.message) from problem

    registry = Registry(
        WebhookCaller(resolve), service_ranges=SERVICE_RANGES, root_certificate=serving.authority_pem, history=HISTORY
    )
    network = PodNetwork(isolation.STATE / "network")
    await network.start()
    agent = Agent(
        registry,
        network,
        images,
        state=isolation.STATE / "node",
        node=_node(),
        tokens=lambda pod, _audience: registry.tokens.issue(
            pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName", "default")
        ),
    )
    runner = web.AppRunner(application(registry, Containers(agent, images)))
    await runner.setup()
    parts = (registry, EndpointSlices(registry), Workloads(registry), ServiceProxy(registry), Names(registry), agent)
    running: list[asyncio.Task[None]] = []
    try:
        async with asyncio.TaskGroup() as group:
            running += [group.create_task(part.run()) for part in parts]
            await web.SockSite(runner, outside, ssl_context=serving.context).start()
            await web.TCPSite(runner, str(NODE_ADDRESS), API_PORT, ssl_context=serving.context).start()
            await _furnish(registry)
            yield
            for task in running:
                task.cancel()
    finally:
        await runner.cleanup()


class Containers:
    """What the API server asks of the node agent, for `kubectl logs`, `kubectl exec` and forwarded ports."""

    def __init__(self, agent: Agent, images: Programs) -> None:
        self._agent = agent
        self._images = images

    async def log(
        self, pod: Json, container: str, *, follow: bool, previous: bool, tail: int | None, timestamps: bool
    ) -> AsyncIterator[bytes]:
        """What a container has printed. Raises ApiProblem."""
        try:
            lines = self._agent.log(pod, container, follow=follow, previous=previous, tail=tail, timestamps=timestamps)
            async for line in lines:
                yield line
        except LookupError as problem:
            raise bad_request(str(problem)) from problem

    async def spawn(self, pod: Json, container: str, command: list[str], *, tty: bool) -> asyncio.subprocess.Process:
        """A command in a running container. Raises ApiProblem."""
        spec = next(each for each in _containers(pod) if each["name"] == container)
        try:
            return await self._agent.spawn(pod, container, self._images.resolve(spec["image"], command), tty)
        except LookupError as problem:
            raise bad_request(str(problem)) from problem

    async def dial(self, pod: Json, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to loopback within the pod. Raises OSError, ApiProblem."""
        try:
            return await self._agent.dial(pod, port)
        except LookupError as problem:
            raise bad_request(str(problem)) from problem


def _containers(pod: Json) -> list[Json]:
    return [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]


def _node() -> NodeFacts:
    return NodeFacts(
        address=str(NODE_ADDRESS),
        pod_cidrs=tuple(map(str, POD_RANGES)),
        resolv_conf=resolv_conf("{namespace}"),
        api_host=str(API_SERVICE),
        cluster_domain=CLUSTER_DOMAIN,
    )


async def _furnish(registry: Registry) -> None:
    """What every cluster has before anybody comes: its ranges, and the Service of its API server."""
    for each in (
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": list(map(str, SERVICE_RANGES))},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kubernetes", "namespace": "default"},
            "spec": {"clusterIP": str(API_SERVICE), "ports": [{"name": "https", "port": 443, "targetPort": API_PORT}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [str(NODE_ADDRESS)], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": API_PORT, "protocol": "TCP"}],
        },
    ):
        await registry.create(each)
