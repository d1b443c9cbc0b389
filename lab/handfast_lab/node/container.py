"""One container: its runs, its probes and hooks, its end."""

import asyncio
import signal
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from handfast_lab.commands import put_down
from handfast_lab.node import probes, processes
from handfast_lab.node.credentials import CannotConfigure
from handfast_lab.node.lifecycle import Container, Kind, Running, Terminated, Waiting, back_off, restart_of
from handfast_lab.node.logs import Log
from handfast_lab.node.recipe import Sandbox, UnknownImage, recipe
from handfast_lab.node.seams import Json

_RETRY: Final = timedelta(seconds=10)
"""Until a container that cannot be configured is tried again."""
_LEAST_GRACE_S: Final = 2
"""Seconds that a process has to end even when the pod's grace period is used up, as with kubelet."""
_MOST_WORDS: Final = 4096
"""Bytes of a termination message, as with kubelet."""
_SIGNALLED: Final = 128
"""A shell's way to say it, and containerd's: the signal's number is added."""


def grace_s(pod: Json) -> float:
    """How long a pod's processes have to end: as its deletion says, else its spec."""
    given = pod["metadata"].get("deletionGracePeriodSeconds", pod["spec"].get("terminationGracePeriodSeconds"))
    return 30 if given is None else float(given)


class Runner:
    """Runs one container, again and again when asked to."""

    def __init__(self, spec: Json, kind: Kind, sandbox: Sandbox) -> None:
        policy = sandbox.pod["spec"].get("restartPolicy") or "Always"
        self.facts = Container(spec["name"], kind, restart_of(kind, policy))
        self._spec = spec
        self._sandbox = sandbox
        self._last_words = sandbox.state / f"{spec['name']}.words"
        self._recipe: Json = {}
        """Of the running process, for those that join it."""
        self._process: processes.Process | None = None
        self._run: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._delay: timedelta | None = None
        self._logs: list[Log] = []

    async def start(self) -> None:
        """Start it once more; whatever keeps it from starting is in `facts` afterwards."""
        before, now = self.facts, datetime.now(UTC)
        if isinstance(before.state, Terminated):
            before = replace(before, restarts=before.restarts + 1, last=before.state)
        self._last_words.write_bytes(b"")
        self._last_words.chmod(0o666)
        try:
            self._recipe = recipe(self._sandbox, self._spec, self._last_words)
        except (CannotConfigure, UnknownImage) as problem:
            for_good = isinstance(problem, UnknownImage)
            reason = "ErrImagePull" if for_good else "CreateContainerConfigError"
            not_before = datetime.max.replace(tzinfo=UTC) if for_good else now + _RETRY
            self.facts = replace(before, state=Waiting(reason, str(problem)), not_before=not_before)
            await self._event("Warning", "Failed", f"Error: {problem}")
            return
        meta = self._sandbox.pod["metadata"]
        place = self._sandbox.world.state / "logs" / f"{meta['namespace']}_{meta['name']}_{meta['uid']}"
        log = Log(place / before.name / f"{before.restarts}.log")
        self._logs.append(log)
        try:
            self._process = await processes.start(self._recipe)
        except processes.CannotStart as problem:
            end = Terminated(_SIGNALLED, "StartError", now, datetime.now(UTC), message=str(problem))
            await self._ended(before, end)
            return
        state = Running(datetime.now(UTC))
        self.facts = replace(before, state=state, not_before=None)
        self._run = asyncio.create_task(self._live(self._process, log, state))
        await self._event("Normal", "Started", f"Started container {before.name}")

    def stop(self, left_s: float, why: str = "Stopping container {}") -> None:
        """Begin to end it: its preStop hook, SIGTERM, and SIGKILL when the time is over. Again: changes nothing."""
        if self._stopping is None and self._process is not None and isinstance(self.facts.state, Running):
            self._stopping = asyncio.create_task(self._stop(self._process, left_s, why.format(self.facts.name)))

    async def close(self) -> None:
        """End it now."""
        if self._process is not None:
            self._process.signal(signal.SIGKILL)
        if self._run is not None:
            await asyncio.wait({self._run})

    async def spawn(self, command: list[str], *, tty: bool = False) -> asyncio.subprocess.Process:
        """A further process in the running container, as the same user. Raises LookupError when it does not run."""
        if self._process is None or not isinstance(self.facts.state, Running):
            raise LookupError(f"container {self.facts.name} is not running")
        joins = {**self._recipe, "container": None, "argv": command, "tty": tty}
        joins["environment"] = self._recipe["environment"] | ({"TERM": "xterm"} if tty else {})
        return await processes.enter(self._process.pid, joins)

    def log(self, *, previous: bool) -> Log:
        """Of the last run, or of the one before it. Raises LookupError when there was none."""
        if len(self._logs) < 1 + previous:
            which = "previous terminated container" if previous else "container"
            raise LookupError(f"{which} {self.facts.name!r} has no log: it has not run")
        return self._logs[-2 if previous else -1]

    async def _live(self, process: processes.Process, log: Log, state: Running) -> None:
        """One run, to its end."""
        watch = asyncio.create_task(self._watch())
        taking = asyncio.create_task(log.take(process.output))
        code = await process.wait()
        await taking
        watch.cancel()
        await asyncio.wait({watch})  # a probe that runs a command ends it first
        if self._stopping is not None:
            self._stopping.cancel()
            self._stopping = None
        number = -code if code < 0 else 0
        exit_code = _SIGNALLED + number if number else code
        reason = "Completed" if exit_code == 0 else "Error"
        words = self._last_words.read_bytes()[-_MOST_WORDS:].decode(errors="replace")
        if not words and exit_code and self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            words = log.last_words()
        now = datetime.now(UTC)
        await self._ended(self.facts, Terminated(exit_code, reason, state.started_at, now, number, words))

    async def _ended(self, before: Container, state: Terminated) -> None:
        self._delay = back_off((state.finished_at - state.started_at).total_seconds(), self._delay)
        not_before = state.finished_at + self._delay if self._delay else None
        self.facts = replace(before, state=state, started=False, ready=False, not_before=not_before)
        self._sandbox.changed()
        if not_before is not None and not self.facts.over:
            meta = self._sandbox.pod["metadata"]
            where = f"{meta['name']}_{meta['namespace']}({meta['uid']})"
            await self._event(
                "Warning", "BackOff", f"Back-off restarting failed container {before.name} in pod {where}"
            )

    async def _stop(self, process: processes.Process, left_s: float, message: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + left_s
        await self._event("Normal", "Killing", message)
        hook = (self._spec.get("lifecycle") or {}).get("preStop")
        if hook and left_s > 0:
            answer = await self._ask(hook, left_s)
            if not answer.success:
                await self._event("Warning", "FailedPreStopHook", f"PreStopHook failed: {answer.message}")
        process.signal(signal.SIGTERM)
        await asyncio.sleep(max(deadline - loop.time(), _LEAST_GRACE_S))
        process.signal(signal.SIGKILL)

    async def _watch(self) -> None:
        """The postStart hook, then the startup probe, then the others for as long as it runs."""
        hook = (self._spec.get("lifecycle") or {}).get("postStart")
        if hook:
            answer = await self._ask(hook, probes.HOOK_TIMEOUT_S)
            if not answer.success:
                await self._event("Warning", "FailedPostStartHook", f"PostStartHook failed: {answer.message}")
                self.stop(grace_s(self._sandbox.pod), "Container {} failed its postStart hook")
                return
        if "startupProbe" in self._spec:
            await self._probe("startupProbe")
            if self._stopping is not None:
                return
        self._stands(started=True, ready="readinessProbe" not in self._spec)
        async with asyncio.TaskGroup() as group:
            for name in ("livenessProbe", "readinessProbe"):
                if name in self._spec:
                    group.create_task(self._probe(name))

    async def _probe(self, name: str) -> None:
        """Readiness to the end of the run; startup until it succeeds; startup and liveness until they fail for good."""
        word = probes.KINDS[name]
        probe = self._spec[name]
        async for verdict, answer in probes.answers(probe, lambda timeout_s: self._ask(probe, timeout_s)):
            if not answer.success:
                await self._event("Warning", "Unhealthy", f"{word} probe failed: {answer.message}")
            if name == "readinessProbe":
                if verdict is not None:
                    self._stands(ready=verdict)
            elif verdict is False:
                given_s = probe.get("terminationGracePeriodSeconds")
                self.stop(
                    grace_s(self._sandbox.pod) if given_s is None else given_s,
                    f"Container {{}} failed {word.lower()} probe, will be restarted",
                )
                return
            elif verdict and name == "startupProbe":
                return

    def _stands(self, **changes: bool) -> None:
        facts = replace(self.facts, **changes)  # type: ignore[arg-type]
        if facts != self.facts:
            self.facts = facts
            self._sandbox.changed()

    def _ask(self, handler: Json, timeout_s: float) -> Coroutine[Any, Any, probes.Answer]:
        address = next(iter(self._sandbox.addresses), "")
        return probes.ask(handler, self._spec, address, self._execute, timeout_s)

    async def _execute(self, command: list[str]) -> tuple[int, str]:
        try:
            process = await self.spawn(command)
        except LookupError as problem:
            return 1, str(problem)
        try:
            said, complained = await process.communicate()
        finally:
            await put_down(process)
        return await process.wait(), (said + complained).decode(errors="replace").strip()

    async def _event(self, kind: Any, reason: str, message: str) -> None:
        await self._sandbox.events.record(kind, reason, message, self.facts.name)
