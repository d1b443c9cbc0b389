"""What a process has used so far, as Linux counts it (proc(5))."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KIB_PER_MB: Final = 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process, since it started."""

    cpu_s: float
    """Seconds of a core, in user and system mode, all threads."""
    queued_s: float
    """Seconds that its main thread was ready to run and had no core; 0 where the kernel does not count them."""
    resident_mb: float
    """Memory that is resident now, in MiB."""
    peak_mb: float
    """The most that was."""


def usage_of(pid: int, proc: Path = Path("/proc")) -> Usage:
    """Raises OSError when it is gone."""
    folder = proc / str(pid)
    # The name before it may hold spaces and brackets.
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    try:
        queued_ns = int((folder / "schedstat").read_text().split()[1])
    except (OSError, IndexError):
        queued_ns = 0
    return Usage(
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
        queued_s=queued_ns / 1e9,
        resident_mb=_mb(status, "VmRSS"),
        peak_mb=_mb(status, "VmHWM"),
    )


def private_mb(pid: int, proc: Path = Path("/proc")) -> float:
    """Memory that no other process shares, in MiB: what the kernel would get back. Raises OSError when it is gone."""
    rollup = (proc / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    found = dict(line.split(":", 1) for line in rollup)
    return _mb(found, "Private_Clean") + _mb(found, "Private_Dirty")


def _mb(status: dict[str, str], name: str) -> float:
    """A line such as `VmRSS:	  1234 kB`; a process that is ending has none."""
    return int(status.get(name, "0 kB").split()[0]) / _KIB_PER_MB
