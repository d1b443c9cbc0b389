"""PID 1 of the cluster's namespaces: it only waits for children that lost their parent.

Run as a script, with the standard library alone.

When it is killed, the kernel kills every process in the PID namespace and drops the mounts, devices, routes and nft
tables that lived in the other two. That is why cleaning up after a run that was killed needs no list of what it made.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Tell the outside which process this is, then reap for ever."""
    ready = Path(sys.argv[1])
    # /proc is still the outer one here: it shows us with the pid and start time that the outside knows us by.
    outer_pid = Path("/proc/self").readlink()
    start_ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
    being_written = ready.with_suffix(".new")
    being_written.write_text(f"{outer_pid} {start_ticks}\n")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    being_written.rename(ready)
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


if __name__ == "__main__":
    main()
