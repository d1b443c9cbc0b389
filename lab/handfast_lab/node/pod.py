"""One pod, from its network to its deletion: does what `lifecycle` decides and writes what `status` says."""

import asyncio
import logging
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from handfast_lab.api.problems import ApiProblem
from handfast_lab.api.recording import Events
from handfast_lab.node import volumes
from handfast_lab.node.container import Runner, grace_s
from handfast_lab.node.dialling import dial
from handfast_lab.node.environment import Data
from handfast_lab.node.lifecycle import Kind, Step, decide
from handfast_lab.node.recipe import Sandbox, World
from handfast_lab.node.seams import Json
from handfast_lab.node.status import ENDED, PodFacts, render

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


class PodRun:
    """Runs one pod."""

    def __init__(self, world: World, pod: Json, data: Data) -> None:
        meta = pod["metadata"]
        self._world = world
        self.pod = pod
        """As it was last written."""
        self._data = data
        self._place = world.state / "pods" / meta["uid"]
        self._events = Events(world.api, "kubelet", pod, world.node.name)
        self._changed = asyncio.Event()
        self._runners: dict[str, Runner] = {}
        self._addresses: tuple[str, ...] = ()
        self._netns: Path | None = None
        self._sandbox = False
        self._complaint = ""
        self._deadline: float | None = None
        self._started_at = datetime.now(UTC)
        self._written: Json = {}
        self._tokens: dict[str, str] = {}
        self._life: asyncio.Task[None] | None = None
        self._removed = False

    def update(self, pod: Json) -> None:
        """The pod is written anew."""
        if int(pod["metadata"]["resourceVersion"]) < int(self.pod["metadata"]["resourceVersion"]):
            self._written = {}  # the API server was set back: what we wrote is not there
        self.pod = pod
        self._changed.set()

    def look(self) -> None:
        """A Secret or ConfigMap that it may refer to has changed."""
        self._changed.set()

    def runner(self, container: str) -> Runner:
        """Raises LookupError."""
        if container not in self._runners:
            name = self.pod["metadata"]["name"]
            raise LookupError(f'container "{container}" in pod "{name}" is waiting to start or not there')
        return self._runners[container]

    async def dial(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a port of its loopback. Raises LookupError, OSError."""
        if not self._sandbox or self._removed:
            raise LookupError(f'pod "{self.pod["metadata"]["name"]}" is not running')
        return await dial(self._netns, port)

    def remove(self) -> None:
        """The pod is deleted, whatever still runs."""
        self._removed = True
        if self._life is not None:
            self._life.cancel()

    async def complain(self, problem: Exception) -> None:
        """Tell whoever describes the pod."""
        await self._events.record("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {problem}")

    async def run(self) -> None:
        """To the pod's deletion, or until cancelled; then its processes end at once."""
        if self._removed:
            return
        # A task of its own: the end of the pod's life must not be the end of tidying up after it.
        life = self._life = asyncio.create_task(self._live())
        try:
            await asyncio.wait({life})
            if not life.cancelled():
                life.result()
        finally:
            life.cancel()
            await asyncio.wait({life})
            await asyncio.gather(*(each.close() for each in self._runners.values()))
            await self._world.network.release(self.pod["metadata"]["uid"])
            shutil.rmtree(self._place, ignore_errors=True)

    async def _live(self) -> None:
        meta = self.pod["metadata"]
        while True:
            self._changed.clear()
            ended = (self.pod.get("status") or {}).get("phase") in ENDED
            if not self._deleted and not ended:
                await self._set_up()
            step = self._decide()
            if not ended:
                await self._do(step)
                await self._write(step)
            if step.over or ended:
                break
            await self._wait(step)
        await self._world.network.release(meta["uid"])
        while not self._deleted:
            await self._changed.wait()
            self._changed.clear()
        with suppress(ApiProblem):
            await self._world.api.delete("pods", meta["namespace"], meta["name"], grace_s=0)

    @property
    def _deleted(self) -> bool:
        return bool(self.pod["metadata"].get("deletionTimestamp"))

    async def _set_up(self) -> None:
        """The pod's network and its volumes, each as soon as it can be; later, what has changed in the volumes."""
        if not self._runners:
            await self._make_sandbox()
        context = volumes.Context(self.pod, self._world.node, self._addresses, self._data, self._token)
        try:
            volumes.set_up(self._place / "volumes", context)
        except volumes.NotReady as lacking:
            if not self._sandbox and str(lacking) != self._complaint:
                self._complaint = str(lacking)
                await self._events.record("Warning", "FailedMount", self._complaint)
            return
        self._sandbox = True

    async def _make_sandbox(self) -> None:
        spec, meta = self.pod["spec"], self.pod["metadata"]
        attach = self._world.network.attach
        link = None if spec.get("hostNetwork") else await attach(meta["uid"])
        self._addresses = (self._world.node.address,) if link is None else link.addresses
        self._netns = None if link is None else link.netns
        sandbox = Sandbox(
            world=self._world,
            pod=self.pod,
            data=self._data,
            addresses=self._addresses,
            netns=self._netns,
            state=self._place,
            events=self._events,
            changed=self._changed.set,
        )
        sandbox.write_names()
        for container in spec.get("initContainers") or ():
            kind = Kind.SIDECAR if container.get("restartPolicy") == "Always" else Kind.INIT
            self._runners[container["name"]] = Runner(container, kind, sandbox)
        for container in spec["containers"]:
            self._runners[container["name"]] = Runner(container, Kind.MAIN, sandbox)

    def _token(self, audience: str) -> str:
        """One for each audience and pod."""
        if self._world.tokens is None:
            raise volumes.NotReady("this lab gives out no service account tokens")
        if audience not in self._tokens:
            self._tokens[audience] = self._world.tokens(self.pod, audience)
        return self._tokens[audience]

    def _decide(self) -> Step:
        if not self._sandbox and not self._deleted:
            return Step()
        facts = [each.facts for each in self._runners.values()]
        return decide(facts, datetime.now(UTC), ending=self._deleted)

    async def _do(self, step: Step) -> None:
        now = asyncio.get_running_loop().time()
        if step.stop and self._deadline is None:
            self._deadline = now + grace_s(self.pod)
        for name in step.stop:
            self._runners[name].stop(max(0, (self._deadline or now) - now))
        for name in step.start:
            await self._runners[name].start()
            self._changed.set()  # it stands otherwise now

    async def _write(self, step: Step) -> None:
        facts = PodFacts(
            containers=[each.facts for each in self._runners.values()],
            addresses=self._addresses,
            host_address=self._world.node.address,
            started_at=self._started_at,
            sandbox=self._sandbox,
            ending=step.ending,
            over=step.over,
        )
        status = render(self.pod, facts, datetime.now(UTC))
        if status == self._written:
            return
        meta = self.pod["metadata"]
        try:
            await self._world.api.patch(
                "pods", meta["namespace"], meta["name"], {"status": status}, subresource="status"
            )
            self._written = status
        except ApiProblem as problem:
            log.warning("a status is not written", extra={"pod": meta["name"], "detail": problem.message})

    async def _wait(self, step: Step) -> None:
        left = None if step.wake_at is None else (step.wake_at - datetime.now(UTC)).total_seconds()
        with suppress(TimeoutError):
            async with asyncio.timeout(left if left is None else max(left, 0)):
                await self._changed.wait()
