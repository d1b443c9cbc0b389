"""Pods that a rotation has to wait for: one whose sidecar stands still, one that cannot reach the directory.

By the machine's own means, so only where the node is ours. A process is found by its pod's name, which every container
has as HOSTNAME: pods that are named here must have names of their own.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import run

from handfast_sidecar.wellknown import DIRECTORY_PORT, PROXY_UID

_RULES = """\
table inet cut {{
  chain out {{ type filter hook output priority -300; tcp dport {port} drop; }}
  chain in {{ type filter hook input priority -300; tcp sport {port} drop; }}
}}
"""


def processes(pod: str, word: str = "", uid: int | None = None) -> list[int]:
    """Of all its containers: those whose command has this word, and that run as this user."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"HOSTNAME={pod}".encode() not in (place / "environ").read_bytes().split(b"\0"):
                continue
            if word.encode() in (place / "cmdline").read_bytes() and uid in (None, place.stat().st_uid):
                found.append(int(place.name))
    return found


def sidecar(pod: str) -> int:
    """The process of a pod's sidecar."""
    [found] = processes(pod, uid=PROXY_UID)
    return found


@contextmanager
def paused(pod: str) -> Iterator[None]:
    """Its sidecar stands still while the block runs."""
    with standing_still([sidecar(pod)]):
        yield


@contextmanager
def standing_still(stopped: Sequence[int]) -> Iterator[None]:
    """These processes do nothing while the block runs, and their connections stay."""
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in stopped:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


@contextmanager
def cut_off(pod: str) -> Iterator[None]:
    """What it says to the directory, and what it is told, is lost while the block runs."""
    network = f"--net=/proc/{sidecar(pod)}/ns/net"
    rules = _RULES.format(port=DIRECTORY_PORT)
    run(["nsenter", network, "nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        run(["nsenter", network, "nft", "delete", "table", "inet", "cut"], check=True)
