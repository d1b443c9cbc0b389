"""Which process is meant. A pid alone is no name: once its process has ended, the number may be another's."""

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

from cluster.kube.errors import PartDied


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A pid, and when that process started: a recycled pid has another start."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """The process that has this pid now."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        state, *rest = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
        return None if state in "ZX" else cls(pid, int(rest[18]))

    @classmethod
    def own(cls) -> "ProcessId":
        """This process."""
        found = cls.of(os.getpid())
        assert found is not None
        return found

    def alive(self) -> bool:
        """Whether it runs, and is still the same process."""
        return ProcessId.of(self.pid) == self

    def kill(self, timeout_s: float = 30) -> None:
        """End it and wait until it is gone; nothing happens to a process that merely has its number."""
        try:
            handle = os.pidfd_open(self.pid)  # from here on the number cannot come to mean another process
        except ProcessLookupError:
            return
        try:
            if not self.alive():
                return
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            if not select.select([handle], [], [], timeout_s)[0]:
                raise PartDied(f"process {self.pid} is still there {timeout_s:.0f} s after SIGKILL")
        finally:
            os.close(handle)
