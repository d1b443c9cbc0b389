"""What processes have used: processor time and memory, as the kernel accounts for them."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_CPUCLOCK_SCHED = 2
_LISTEN = "0A"


def family(pid: int) -> tuple[int, ...]:
    """A process and its descendants: nginx is a master and a worker."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return (pid, *(each for child in children for each in family(child)))


def cpu_s(pids: Iterable[int]) -> float:
    """Seconds of processor time since each process began.

    clock_getcpuclockid(3), which Python lacks: in nanoseconds like schedstat, but with the threads that have ended;
    stunnel has one for each connection.
    """
    return sum(time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED) for pid in pids)


@dataclass(frozen=True, slots=True)
class Memory:
    """In KiB, summed over a proxy's processes."""

    rss_kb: int
    pss_kb: int
    """Shared pages divided among those who share them."""
    private_kb: int


def memory(pids: Iterable[int]) -> Memory:
    """Of all these processes together."""
    samples = [_smaps(Path(f"/proc/{pid}/smaps_rollup").read_text()) for pid in pids]
    return Memory(
        rss_kb=sum(each["Rss"] for each in samples),
        pss_kb=sum(each["Pss"] for each in samples),
        private_kb=sum(each["Private_Clean"] + each["Private_Dirty"] for each in samples),
    )


def _smaps(text: str) -> dict[str, int]:
    pairs = (line.split() for line in text.splitlines()[1:])
    return {words[0].rstrip(":"): int(words[1]) for words in pairs}


def listens(pid: int, port: int) -> bool:
    """Whether somebody listens on this IPv4 port in the network namespace of a process."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return any(row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port for row in rows)
