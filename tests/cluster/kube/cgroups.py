"""The control groups of the cluster's pods, all below one of ours, so that they can be found and removed.

cgroup v1 has one tree for each controller and v2 has one for all; a machine may have either.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cluster.kube.errors import PartDied
from cluster.kube.processes import ProcessId

NAME = "handfast-cluster"
MOUNTED = Path("/sys/fs/cgroup")
REMOVAL_S = 30
"""How long processes that were killed may take to leave their groups."""


def unified() -> bool:
    """Whether cgroup v2 alone is mounted."""
    return (MOUNTED / "cgroup.controllers").exists()


def _trees() -> Iterator[Path]:
    if unified():
        yield MOUNTED
        return
    seen: set[Path] = set()
    for tree in MOUNTED.iterdir():
        real = tree.resolve()  # cpu and cpuacct may be two names of one tree
        if real.is_dir() and real not in seen and (real / "cgroup.procs").exists():
            seen.add(real)
            yield real


def create() -> None:
    """Our group in each tree."""
    for tree in _trees():
        group = tree / NAME
        group.mkdir(exist_ok=True)
        for inherited in ("cpuset.cpus", "cpuset.mems"):
            # A new v1 cpuset is empty, and a process cannot join it before it has processors and memory.
            if not unified() and (group / inherited).exists():
                (group / inherited).write_text((tree / inherited).read_text())
    if unified():
        wanted = (MOUNTED / "cgroup.controllers").read_text().split()
        for place in (MOUNTED, MOUNTED / NAME):
            (place / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))


def kill() -> None:
    """End all that run in our group; the group stays, with nothing below it."""
    for tree in _trees():
        for members in (tree / NAME).rglob("cgroup.procs"):
            for pid in map(int, members.read_text().split()):
                if process := ProcessId.of(pid):
                    process.kill()
    _remove(lambda group: [path for path in group.rglob("*") if path.is_dir()])


def remove() -> None:
    """Our group and all below it; its processes have been killed and may still be on their way out."""
    _remove(lambda group: [path for path in (group, *group.rglob("*")) if path.is_dir()])


def _remove(chosen: Callable[[Path], list[Path]]) -> None:
    deadline = time.monotonic() + REMOVAL_S
    for tree in _trees():
        group = tree / NAME
        while folders := chosen(group):
            try:
                for each in sorted(folders, reverse=True):
                    each.rmdir()
            except OSError as busy:
                if time.monotonic() > deadline:
                    raise PartDied(f"control group {group} cannot be removed: {busy}") from busy
                time.sleep(0.05)
