"""A sidecar's counters and its process, looked at from outside, and what must hold of them at the end."""

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from handfast_bench.sidecars import Sidecars
from handfast_sidecar.wellknown import ADMIN_PORT

_FETCH: Final = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
_SAMPLE: Final = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL: Final = re.compile(r'([a-z_]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Scrape:
    """One answer of `/metrics`."""

    samples: tuple[tuple[str, Mapping[str, str], float], ...]

    @classmethod
    def parse(cls, text: str) -> "Scrape":
        found = filter(None, map(_SAMPLE.fullmatch, text.splitlines()))
        return cls(
            tuple((each["name"], dict(_LABEL.findall(each["labels"] or "")), float(each["value"])) for each in found)
        )

    def total(self, name: str, **labels: str) -> int:
        """The sum of the samples that have these labels."""
        return int(sum(value for each, has, value in self.samples if each == name and labels.items() <= has.items()))

    def by(self, name: str, label: str) -> Counter[str]:
        """Sums for each value of a label."""
        sums: Counter[str] = Counter()
        for each, has, value in self.samples:
            if each == name:
                sums[has.get(label, "")] += int(value)
        return sums


def scrape(pair: Sidecars, where: str) -> Scrape:
    """Raises BenchFailed when the sidecar does not answer."""
    return Scrape.parse(pair.admin(where, "/metrics"))


def tasks(pair: Sidecars, where: str) -> int:
    """asyncio's tasks in a sidecar; it tells them to its own loopback alone."""
    url = f"http://127.0.0.1:{ADMIN_PORT}/debug/tasks"
    return len(json.loads(pair.spaces.run(where, [sys.executable, "-S", "-c", _FETCH, url])))


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds at a moment."""

    at_s: float
    rss_kib: int
    private_kib: int
    descriptors: int
    threads: int


def footprint(pid: int, at_s: float) -> Footprint:
    """From /proc. Raises OSError when the process is gone."""
    process = Path("/proc") / str(pid)
    memory = _fields(process / "smaps_rollup")
    return Footprint(
        at_s,
        memory["Rss"],
        memory["Private_Clean"] + memory["Private_Dirty"],
        sum(1 for _ in (process / "fd").iterdir()),
        _fields(process / "status")["Threads"],
    )


def _fields(path: Path) -> dict[str, int]:
    """`Name:  123 kB` and `Name: 123` of a file in /proc."""
    return {found[1]: int(found[2]) for found in re.finditer(r"(?m)^(\w+):\s+(\d+)(?: kB)?$", path.read_text())}
