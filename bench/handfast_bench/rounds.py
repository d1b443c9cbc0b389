"""Who is measured when: in each repeat every proxy in turn, so that a shared machine's moods hit all of them alike."""

import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Final

from handfast_bench import firstbyte
from handfast_bench.backend import Backend, backend, write_big_file
from handfast_bench.cases import CASES, FRESH, Bench, Figures, Pace
from handfast_bench.identities import Identities
from handfast_bench.namespaces import BenchFailed, Namespaces, namespaces
from handfast_bench.pair import DIRECT, OURS, SOCKETS
from handfast_bench.peers import MAKERS, SUITES, Site
from handfast_bench.results import ERRORS, Result, middle
from handfast_bench.table import number

FIRST_BYTE: Final = "first-byte"
_STRICT: Final = frozenset({DIRECT, SOCKETS, OURS})
"""Whose errors end the run: a peer's are a finding, ours a bug."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run measures."""

    proxies: Sequence[str]
    cases: Sequence[str]
    pace: Pace


class _Found:
    """Samples as they come in, and progress on stderr."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str], list[Figures]] = {}
        self._failed: dict[tuple[str, str], str] = defaultdict(str)

    def add(self, proxy: str, case: str, figures: Figures) -> None:
        self._samples.setdefault((proxy, case), []).append(figures)
        say(f"{proxy:9} {case:17} " + "  ".join(f"{name} {number(value)}" for name, value in figures.items()))

    def fail(self, proxy: str, case: str, error: Exception) -> None:
        self._failed[proxy, case] = str(error)
        self._samples.setdefault((proxy, case), [])
        say(f"{proxy:9} {case:17} failed: {error}")

    def results(self) -> tuple[Result, ...]:
        return tuple(
            middle(*key, samples) if samples else Result(*key, {}, failed=self._failed[key])
            for key, samples in self._samples.items()
        )


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command's own output


def run(plan: Plan) -> tuple[Result, ...]:
    """Measure; logs and configurations stay behind when it fails. Raises BenchFailed."""
    folder = Path(tempfile.mkdtemp(prefix="handfast-bench-"))
    try:
        with tempfile.TemporaryDirectory(prefix="handfast-bench-big-") as big:
            results = _run(plan, folder, write_big_file(Path(big)))
    except BenchFailed as error:
        raise BenchFailed(f"{error}\nlogs and configurations are in {folder}") from error
    shutil.rmtree(folder)
    return results


def _run(plan: Plan, folder: Path, big: Path) -> tuple[Result, ...]:
    found, numbers = _Found(), count(1)

    def fresh_folder(proxy: str) -> Path:
        made = folder / f"{next(numbers)}-{proxy}"
        made.mkdir()
        return made

    together = [case for case in plan.cases if case not in FRESH]
    for repeat in range(plan.pace.repeats):
        say(f"repeat {repeat + 1} of {plan.pace.repeats}")
        for proxy in plan.proxies:
            alone = [case for case in plan.cases if case in FRESH] if not repeat else []
            for cases in (together, *([case] for case in alone)):
                if cases and not (proxy in {DIRECT, SOCKETS} and FRESH.issuperset(cases)):
                    _round(plan, fresh_folder(proxy), big, proxy, cases, found)
        if FIRST_BYTE in plan.cases:
            _own_tls(plan, fresh_folder("own-tls"), big, found)
    return found.results()


def _round(plan: Plan, folder: Path, big: Path, proxy: str, cases: Sequence[str], found: _Found) -> None:
    with (
        _around(folder, big) as (spaces, behind, identities),
        {**MAKERS, **SUITES}[proxy](Site(spaces, folder, identities)) as pair,
    ):
        bench = Bench(spaces, behind, pair, folder, plan.pace)
        for case in cases:
            try:
                figures = CASES[case](bench)
            except (BenchFailed, TimeoutExpired) as error:
                if proxy in _STRICT:
                    raise BenchFailed(f"{proxy}, {case}: {error}") from error
                found.fail(proxy, case, error)
                continue
            if proxy in _STRICT and figures.get(ERRORS):
                raise BenchFailed(f"{proxy}, {case}: wrk saw {figures[ERRORS]:.0f} failed connections or answers")
            found.add(proxy, case, figures)


def _own_tls(plan: Plan, folder: Path, big: Path, found: _Found) -> None:
    with _around(folder, big) as (spaces, _behind, identities):
        for mode, library in firstbyte.OWN_TLS.items():
            case = f"{FIRST_BYTE}-{mode}"
            try:
                found.add(library, case, firstbyte.own_tls(spaces, folder, identities, mode, plan.pace.dials))
            except BenchFailed as error:
                found.fail(library, case, error)


@contextmanager
def _around(folder: Path, big: Path) -> Iterator[tuple[Namespaces, Backend, Identities]]:
    identities = Identities()
    with namespaces() as spaces, backend(spaces, folder, identities, big) as behind:
        yield spaces, behind, identities
