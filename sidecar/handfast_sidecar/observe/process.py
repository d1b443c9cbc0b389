"""What a program costs, under the names that every Prometheus client library uses, and which version it is.

Read from /proc when somebody scrapes, and at no other time.
"""

import os
import time
from pathlib import Path
from typing import Final

from handfast_sidecar import __version__
from handfast_sidecar.observe import table
from handfast_sidecar.observe.metrics import Registry

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def serve_process(registry: Registry, component: str) -> None:
    """Declare and fill the metrics of this process; `component` is `sidecar` or a role of the operator."""
    table.BUILD.of(registry).labels(component, __version__).set(1)
    table.CPU.of(registry).set_function(cpu_s)
    table.MEMORY.of(registry).set_function(resident)
    table.STARTED.of(registry).set(_started_at())


def cpu_s() -> float:
    """Seconds of CPU that this process has used, in user and system mode."""
    used = os.times()
    return used.user + used.system


def resident() -> int:
    """Bytes of memory that this process has now (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def _started_at() -> float:
    """In Unix time: field 22 of proc_pid_stat(5), counted from the boot in clock ticks."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
