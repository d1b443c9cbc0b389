"""A soak from the first leaf to the verdict: it starts the pair and the load, rotates, watches, and compares."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from handfast_bench.namespaces import CLIENT, SERVER, SERVER_IP, BenchFailed, Namespaces
from handfast_bench.sidecars import PODS, Sidecars
from handfast_soak.conversation import Outcome
from handfast_soak.endpoint import STEP_S
from handfast_soak.footprint import Footprint, footprint, tasks
from handfast_soak.ledger import Ledger
from handfast_soak.memory import growth
from handfast_soak.own_time import OwnTime
from handfast_soak.server import READY
from handfast_soak.verdict import Rest, SidecarFacts, carried

if TYPE_CHECKING:
    import subprocess

LIVES: Final = 2.5
"""A leaf lasts so many rotations by default: its tunnels are renewed after 60 % of it, several times in a soak."""
LOAD_ENDS_S: Final = 2 * STEP_S
"""Seconds after the load's time within which the last connection ends."""
REST_S: Final = 30.0
"""Seconds until the sidecars hold what they held before: old tunnels drain, sockets close."""
STARTS_S: Final = 20.0
LOOK_S: Final = 0.25
FIRST_WARM: Final = 1_000_000_000
"""Numbers of the warm-up's connections, far from those of the load."""


@dataclass
class Soak:
    """A pair under load; `ledger`, `rotations` and `samples` can be read at any time."""

    spaces: Namespaces
    pair: Sidecars
    folder: Path
    seconds: float
    rotate_s: float
    life_s: float
    seed: int
    own: OwnTime = field(default_factory=OwnTime)
    ledger: Ledger = field(default_factory=Ledger)
    rotations: int = 0
    samples: dict[str, list[Footprint]] = field(default_factory=lambda: {where: [] for where in PODS})
    before: dict[str, Rest] = field(default_factory=dict)
    _logs: dict[Path, int] = field(default_factory=dict)
    """How far each process's lines are read."""

    def run(self, progress: Callable[["Soak", float], None]) -> dict[str, SidecarFacts]:
        """The whole of it; `progress` is called with the seconds after each look. Raises BenchFailed."""
        self._short_leaves()
        server = self._start(SERVER, "server", SERVER_IP)
        self._wait(lambda: READY in self._log("server").read_text(), STARTS_S, "the load's server does not listen")
        self._warm_up()
        self.before = {where: self.rest(where) for where in PODS}
        self._load(progress)
        for where in PODS:
            self.pair.renew(where)  # for a day: nothing rotates from here on
        self._come_to_rest()
        self.spaces.stop(server)
        self._read()
        self.ledger.close()
        return {where: self._facts(where) for where in PODS}

    def rest(self, where: str) -> Rest:
        """What a sidecar holds now."""
        held = footprint(self.pair.processes[where].pid, 0)
        return Rest(held.descriptors, tasks(self.pair, where), held.threads)

    def _rotate(self) -> None:
        ttl = timedelta(seconds=self.life_s)
        for where, pod in PODS.items():
            self.pair.identities.write_pod(pod, self.folder / where, ttl=ttl)
        self.rotations += 1

    def _stood_still(self, seconds: float) -> None:
        """We were stopped, and the sidecars were not: new leaves at once, unless they came too late."""
        self._rotate()
        if seconds > self.life_s / 2:
            self.ledger.failures.append(f"the soak stood still for {seconds:.0f} s, leaves expired: it proves nothing")

    def _short_leaves(self) -> None:
        """Before the first tunnel: the pair starts with leaves of a day, whose tunnels no soak would see renewed."""
        self._rotate()
        self._wait(
            lambda: all(self.pair.metric(where, "handfast_identity_reloads_total") for where in PODS),
            STARTS_S,
            "a sidecar does not take its new leaf",
        )

    def _start(self, where: str, module: str, *words: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", f"handfast_soak.{module}", *words]
        return self.spaces.start(where, command, log=self._log(module))

    def _log(self, module: str) -> Path:
        path = self.folder / f"load-{module}.log"
        path.touch()
        return path

    def _warm_up(self) -> None:
        """The first tunnel and the first of everything: what it leaves behind is no leak."""
        words = ("--seconds", "0.5", "--first", str(FIRST_WARM), "--only", "short", "empty", "reset", "half-close")
        client = self._start(CLIENT, "client", SERVER_IP, *words)
        self._wait(lambda: client.poll() is not None, LOAD_ENDS_S, "the warm-up does not end")
        self._wait(self._all_over, REST_S, "connections of the warm-up stay open in the sidecars")

    def _load(self, progress: Callable[["Soak", float], None]) -> None:
        words = ("--seconds", str(self.seconds), "--seed", str(self.seed))
        client = self._start(CLIENT, "client", SERVER_IP, *words)
        began = rotated = self.own.now()
        sampled = 0.0
        while client.poll() is None:
            still, now = self.own.still_s, self.own.now()
            if self.own.still_s > still:
                self._stood_still(self.own.still_s - still)
                rotated = now
            if now - began > self.seconds + LOAD_ENDS_S:
                self.ledger.failures.append("stuck: the load's client did not end")
                break
            if now - rotated >= self.rotate_s:
                rotated = now
                self._rotate()
            if now - sampled >= 1:
                sampled = now
                self._sample(now - began)
            self._read()
            progress(self, now - began)
            time.sleep(LOOK_S)
        if client.poll():
            self.ledger.failures.append(f"the load's client ended with exit code {client.returncode}")

    def _sample(self, at_s: float) -> None:
        for where, process in self.pair.processes.items():
            if process.poll() is not None:
                raise BenchFailed(f"the {where}'s sidecar ended with exit code {process.returncode}: see its log")
            self.samples[where].append(footprint(process.pid, at_s))

    def _read(self) -> None:
        """What the load's processes have written since the last time."""
        for module in ("client", "server"):
            path = self._log(module)
            with path.open("rb") as lines:
                lines.seek(self._logs.get(path, 0))
                for line in lines:
                    if not line.endswith(b"\n"):
                        break
                    self._logs[path] = self._logs.get(path, 0) + len(line)
                    self._take(module, line.decode().strip())

    def _take(self, module: str, line: str) -> None:
        if line.startswith("{"):
            self.ledger.add(Outcome.parse(line))
        elif line != READY:
            self.ledger.failures.append(f"the load's {module} said: {line}")

    def _come_to_rest(self) -> None:
        """Wait; what is still held afterwards, the verdict finds."""
        deadline = time.monotonic() + REST_S
        while time.monotonic() < deadline:
            held = {where: self.rest(where) for where in PODS}
            self._read()  # the server's application may have bytes to read that its sidecar has long handed on
            if (
                not self.ledger.alone
                and self._all_over()
                and all(
                    held[where].descriptors <= was.descriptors and held[where].tasks <= was.tasks
                    for where, was in self.before.items()
                )
            ):
                return
            time.sleep(1)

    def _all_over(self) -> bool:
        return all(opened == closed for opened, closed in (carried(self.pair.scrape(where)) for where in PODS))

    def _facts(self, where: str) -> SidecarFacts:
        return SidecarFacts(
            metrics=self.pair.scrape(where),
            before=self.before[where],
            after=self.rest(where),
            rss=growth(self.samples[where], self.seconds, private=False),
            private=growth(self.samples[where], self.seconds, private=True),
            complaints=tuple(_complaints(self.pair.log(where))),
        )

    def _wait(self, done: Callable[[], bool], seconds: float, otherwise: str) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise BenchFailed(otherwise)
            time.sleep(0.1)


def _complaints(log: Path) -> list[str]:
    """A sidecar's lines of the level error, and those that are no JSON, as a traceback of Python itself."""
    found = []
    with log.open() as lines:
        for line in lines:
            try:
                level = json.loads(line)["level"]
            except (ValueError, KeyError, TypeError):
                level = "error"
            if level in {"error", "critical"}:
                found.append(line.strip()[:2000])
    return found[:20]
