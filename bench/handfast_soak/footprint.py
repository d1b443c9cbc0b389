"""What a sidecar's process holds, looked at from outside."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from handfast_bench.sidecars import Sidecars


def tasks(pair: Sidecars, where: str) -> int:
    """asyncio's tasks in a sidecar; it tells them to its own loopback alone."""
    return len(json.loads(pair.admin(where, "/debug/tasks", host="127.0.0.1", timeout_s=5)))


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
