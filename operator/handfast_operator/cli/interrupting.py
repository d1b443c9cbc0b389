"""Ctrl-C is heard at any moment: while the loop waits for the network, and while a person is asked."""

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heard() -> Iterator[None]:
    """A signal wakes the loop that runs, while the block does; in the main thread alone.

    Python runs a signal's handler between two instructions of its own. Where the signal comes in the moment before the
    loop begins to wait, that is when the network has something to say, which may take minutes; unless the signal writes
    to what the loop waits for (Python's `signal.set_wakeup_fd`).
    """
    loop = asyncio.get_running_loop()
    read, written = socket.socketpair()
    with read, written:
        for each in (read, written):
            each.setblocking(False)
        loop.add_reader(read, read.recv, 4096)
        before = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(read)


def agrees(question: str) -> bool:
    """Whether the person at the terminal says yes. Raises KeyboardInterrupt.

    asyncio's handler would only ask the loop to end, which does not run meanwhile, and the question would stay.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    finally:
        signal.signal(signal.SIGINT, before)
