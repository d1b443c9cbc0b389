"""Fuzz what strangers can send us: `python tests/fuzz/tunnel.py --minutes 10 [--seed N]`, or `--replay FILE`.

An input that reaches something new is kept, and the next ones are made from those kept. The first one that breaks what
`targets` says must hold is written to a file, and the exit code is 1.
"""

import argparse
import hashlib
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

TESTS: Final = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[0] = str(TESTS)

from fuzz.reach import Reach  # noqa: E402 - found only from the folder of all tests

if TYPE_CHECKING:
    from fuzz.targets import Target

PACKAGE: Final = "handfast_sidecar"
MODULES: Final = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        *(f"tunnel.{name}" for name in ("arena", "control", "frames", "hello", "mux", "preface")),
        *("directory.codec", "identity.spiffe", "policy.effective"),
    )
)
SLOW_S: Final = 10.0
"""Seconds of computing for one input that are a finding by themselves: a peer must not be able to stop the loop."""
REPORT_EVERY_S: Final = 60.0


@dataclass
class Corpus:
    """The inputs of one target that reached something new, the quick ones chosen more often."""

    target: "Target"
    inputs: list[bytes] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    executions: int = 0
    spent_s: float = 0.0

    def keep(self, data: bytes, took_s: float) -> None:
        self.inputs.append(data)
        self.weights.append(1 / (0.001 + took_s))

    def next(self, random: Random) -> bytes:
        """The seeds first, then changed ones of those kept."""
        if self.executions <= len(self.target.seeds):
            return self.target.seeds[self.executions - 1]
        data, other = random.choices(self.inputs, self.weights, k=2)
        return self.target.mutated(random, data, other)


def fuzz(targets: list["Target"], reach: Reach, minutes: float, seed: int, findings: Path) -> int:
    """Until the time is over or something is found; the exit code."""
    random, corpora = Random(seed), [Corpus(target) for target in targets]  # noqa: S311 - finds, and hides nothing
    began, now = time.monotonic(), time.thread_time()
    report_at = began + REPORT_EVERY_S
    while time.monotonic() < began + minutes * 60:
        corpus = min(corpora, key=lambda each: each.spent_s)
        corpus.executions += 1
        data = corpus.next(random)
        reach.forget()
        if not holds(corpus.target, data, findings):
            return 1
        before, now = now, time.thread_time()
        if now - before > SLOW_S:
            say(f"{corpus.target.name}: an input took {now - before:.1f} s")
            _write(corpus.target, data, findings)
            return 1
        if reach.is_news() or corpus.executions <= len(corpus.target.seeds):
            corpus.keep(data, now - before)
        corpus.spent_s += now - before
        if time.monotonic() > report_at:
            report_at += REPORT_EVERY_S
            say(_sums(corpora, time.monotonic() - began))
    for each in corpora:
        say(
            f"{each.target.name:16} {each.executions:9,} executions {each.executions / (each.spent_s or 1):7,.0f}/s "
            f"corpus {len(each.inputs):5}"
        )
    for module, (reached, there) in reach.lines().items():
        say(f"{module:36} {reached:4} of {there:4} lines")
    say(f"{_sums(corpora, time.monotonic() - began)}; no finding; seed {seed}")
    return 0


def holds(target: "Target", data: bytes, findings: Path) -> bool:
    """Whether the input breaks nothing; else it is written down, with how to see it again."""
    try:
        target.run(data)
    except Exception:  # noqa: BLE001 - whatever escapes is the finding
        say(traceback.format_exc())
        _write(target, data, findings)
        return False
    return True


def _write(target: "Target", data: bytes, findings: Path) -> None:
    findings.mkdir(parents=True, exist_ok=True)
    file = findings / f"{target.name}.{hashlib.sha256(data).hexdigest()[:12]}"
    file.write_bytes(data)
    say(f"{target.name}: an input of {len(data)} bytes. To see it again: {sys.argv[0]} --replay {file}")


def _sums(corpora: list[Corpus], seconds: float) -> str:
    executions, kept = sum(each.executions for each in corpora), sum(len(each.inputs) for each in corpora)
    return f"{executions:,} executions in {seconds:.0f} s, {executions / (seconds or 1):,.0f}/s, corpus {kept}"


def say(text: str) -> None:
    """A line, at once: who reads it may wait for it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Read the command line, and do it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--seed", type=int, default=None, help="of what is chosen by chance")
    parser.add_argument("--target", action="append", help="only this one; may be repeated")
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"), help="folder for what is found")
    parser.add_argument("--replay", type=Path, help="one input again; the file's name begins with its target's")
    arguments = parser.parse_args()
    reach = Reach(MODULES)
    from fuzz.targets import TARGETS

    if arguments.replay is not None:
        target = TARGETS[arguments.replay.name.partition(".")[0]]
        return 0 if holds(target, arguments.replay.read_bytes(), arguments.findings) else 1
    seed = arguments.seed if arguments.seed is not None else time.time_ns() % 1_000_000
    chosen = [target for name, target in TARGETS.items() if not arguments.target or name in arguments.target]
    say(f"seed {seed}, {arguments.minutes} minutes: {', '.join(target.name for target in chosen)}")
    return fuzz(chosen, reach, arguments.minutes, seed, arguments.findings)


if __name__ == "__main__":
    sys.exit(main())
