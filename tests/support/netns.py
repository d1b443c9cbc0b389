"""Sockets inside other network namespaces: a socket stays where it was made, whoever uses it."""

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")
CLONE_NEWNET: Final = 0x40000000  # <linux/sched.h>
NAMED: Final = Path("/run/netns")
"""Where ip-netns(8) keeps those that have a name."""


def inside(name: str, make: Callable[[], T]) -> T:
    """What `make` returns when it is called in a named network namespace. Raises what it raises."""
    made: list[T] = []
    failed: list[OSError] = []

    def enter() -> None:  # in a thread that ends with it, for a thread alone can change its namespace
        try:
            with (NAMED / name).open() as entered:
                if ctypes.CDLL(None, use_errno=True).setns(entered.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
            made.append(make())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
