"""`python -m handfast_soak [--minutes 10] [--rotate 30] [--seed N]`: needs root, iproute2, nftables and util-linux.

It prints a line every 10 s and a summary; its exit code is 0 when nothing at all was wrong.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from handfast_bench.namespaces import BenchFailed, namespaces
from handfast_bench.sidecars import sidecars
from handfast_soak import report
from handfast_soak.run import LIVES, Soak
from handfast_soak.verdict import faults

EVERY_S: Final = 10.0
SHORTEST_S: Final = 8.0
"""Seconds that a leaf lasts at least: sidecars look for new ones once a second."""


def main() -> int:
    """Read the words, run, print; the exit code."""
    parser = argparse.ArgumentParser(prog="handfast_soak", description="A long mixed load through a pair of sidecars.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rotate", type=float, default=30.0, help="seconds between new leaves on both sides")
    parser.add_argument("--life", type=float, help=f"seconds that a leaf lasts, by default {LIVES} rotations")
    parser.add_argument("--seed", type=int, help="of the load's random numbers; another each time by default")
    parser.add_argument("--folder", type=Path, help="where logs go and stay; by default they go when it passes")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that namespaces and processes end with it
    seed = words.seed if words.seed is not None else int(time.time())
    folder = words.folder or Path(tempfile.mkdtemp(prefix="handfast-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    _say(f"{words.minutes:g} minutes, rotation every {words.rotate:g} s, seed {seed}, logs in {folder}")
    try:
        passed = soak(folder, words.minutes * 60, words.rotate, seed, words.life)
    except BenchFailed as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    if passed and words.folder is None:
        shutil.rmtree(folder)
    return 0 if passed else 1


def soak(folder: Path, seconds: float, rotate_s: float, seed: int, life_s: float | None = None) -> bool:
    """One run, with what it prints; whether nothing was wrong. Raises BenchFailed."""
    said = 0.0

    def progress(run: Soak, at_s: float) -> None:
        nonlocal said
        if at_s - said >= EVERY_S:
            said = at_s
            _say(report.progress(run, at_s))

    with namespaces() as spaces, sidecars(spaces, folder) as pair:
        run = Soak(spaces, pair, folder, seconds, rotate_s, life_s or max(rotate_s * LIVES, SHORTEST_S), seed)
        facts = run.run(progress)
        found = [*run.ledger.failures, *faults(facts, seconds, run.ledger.clean)]
        _say(report.summary(run, facts, found))
    return not found


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
