"""A node agent with real processes, in this machine's network, over an API in memory."""

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handfast_lab.api.port import Json
from handfast_lab.api.registry import Registry
from handfast_lab.node.agent import Agent
from handfast_lab.node.seams import ImageSpec, NodeFacts

NAMESPACE = "shop"
NODE = NodeFacts(
    address="127.0.0.1",
    pod_cidrs=("10.244.0.0/24",),
    resolv_conf="nameserver 10.96.0.10\nsearch {namespace}.svc.cluster.local\n",
    api_host="10.96.0.1",
)
IMAGES = {
    "shell": ImageSpec(("/bin/sh", "-c"), {"FROM_IMAGE": "yes"}),
    "nobody": ImageSpec(("/bin/sh", "-c"), user=65532, group=65532),
    "python": ImageSpec((sys.executable, "-I", "-S", "-c"), user=65532, group=65532),
}


@dataclass(frozen=True, slots=True)
class Link:
    """A pod in the node's own namespace, at loopback, so that probes reach it without a network."""

    addresses: tuple[str, ...] = ("127.0.0.1", "::1")
    netns: Path = Path(f"/proc/{os.getpid()}/ns/net")


class NoNetwork:
    """Gives every pod the same link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.released = asyncio.Event()

    async def attach(self, pod_uid: str) -> Link:
        return self.link

    async def release(self, pod_uid: str) -> None:
        self.released.set()


class NoWebhooks:
    """Nothing that is created is asked about."""

    async def ask(self, webhook: Json, review: Json) -> Json:
        raise AssertionError


class FewImages:
    """The images above."""

    def command(self, image: str) -> ImageSpec | None:
        return IMAGES.get(image)


class Stage:
    """What a test has in its hands."""

    def __init__(self, state: Path, link: Link) -> None:
        self.api = Registry(NoWebhooks(), root_certificate="a root")
        self.network = NoNetwork(link)
        self.agent = Agent(
            self.api, self.network, FewImages(), state=state, node=NODE, tokens=lambda _pod, audience: f"for {audience}"
        )

    async def create(self, name: str, *containers: Json, **spec: Any) -> Json:
        """A pod."""
        return await self.api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
                "spec": {"containers": list(containers), "terminationGracePeriodSeconds": 1, **spec},
            }
        )

    async def secret(self, name: str, **data: str) -> None:
        """Create or replace it."""
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        }
        if any(each["metadata"]["name"] == name for each in self.api.list("secrets")):
            await self.api.update(body)
        else:
            await self.api.create(body)

    async def until(self, name: str, holds: Callable[[Json], bool], resource: str = "pods") -> Json:
        """The object as it is when this holds."""
        async for event in self.api.watch(resource):
            if event.type != "DELETED" and event.object["metadata"]["name"].startswith(name) and holds(event.object):
                return event.object
        raise AssertionError

    async def phase(self, name: str, phase: str) -> Json:
        """The pod, in this phase."""
        return await self.until(name, lambda pod: pod.get("status", {}).get("phase") == phase)

    async def ready(self, name: str) -> Json:
        """The pod, Ready."""
        return await self.until(name, lambda pod: condition(pod, "Ready") == "True")

    async def gone(self, name: str) -> None:
        """Until the pod is deleted."""
        async for event in self.api.watch("pods"):
            if event.type == "DELETED" and event.object["metadata"]["name"] == name:
                return

    async def output(self, pod: Json, container: str = "app", *, previous: bool = False) -> str:
        """What it has written."""
        lines = self.agent.log(pod, container, follow=False, previous=previous, tail=None, timestamps=False)
        return b"".join([line async for line in lines]).decode()

    async def result(self, name: str, *containers: Json, **spec: Any) -> str:
        """What a pod writes that runs once and succeeds."""
        await self.create(name, *containers, restartPolicy="Never", **spec)
        pod = await self.until(name, lambda pod: pod.get("status", {}).get("phase") in ("Succeeded", "Failed"))
        assert pod["status"]["phase"] == "Succeeded", pod["status"]
        return await self.output(pod)

    async def event(self, reason: str) -> Json:
        """The first Event with this reason."""
        return await self.until("", lambda event: event["reason"] == reason, "events")


@asynccontextmanager
async def stage(state: Path, link: Link | None = None) -> AsyncIterator[Stage]:
    """A running agent, which ends with its processes."""
    made = Stage(state, link or Link())
    await made.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    running = asyncio.create_task(made.agent.run())
    try:
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def shell(script: str, name: str = "app", **fields: Any) -> Json:
    """A container that runs a script."""
    return {"name": name, "image": "shell", "args": [script], **fields}


def condition(pod: Json, kind: str) -> str:
    """A condition's status."""
    return next((each["status"] for each in pod.get("status", {}).get("conditions", ()) if each["type"] == kind), "")
