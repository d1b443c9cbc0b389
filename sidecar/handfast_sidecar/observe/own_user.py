"""Whether a process of this pod that is not the sidecar runs as the sidecar's user.

The webhook sees a pod's spec, but not the user that an image itself names; the rules of interception let that user's
traffic pass, so such an application would speak plaintext around the sidecar and nobody would know. The kernel tells
the user of every socket of the pod; what is of ours and none of our descriptors belongs to somebody else.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from handfast_sidecar.observe.proc_net import TcpSocket, sockets
from handfast_sidecar.wellknown import PROXY_UID

log = logging.getLogger(__name__)

LOOK_S: Final = 30.0
"""Seconds between looks."""
MAX_DESCRIPTORS: Final = 1000
"""A sidecar that has more open does not look: its connections have a better use for the milliseconds."""
_DESCRIPTORS: Final = Path("/proc/self/fd")


def own_inodes() -> set[int]:
    """The inodes of this process's sockets."""
    found = set()
    for each in _DESCRIPTORS.iterdir():
        with suppress(OSError):  # the listing's own descriptor is gone by now
            kind, _, inode = str(each.readlink()).partition(":")
            if kind == "socket":
                found.add(int(inode.strip("[]")))
    return found


def strangers(found: Iterable[TcpSocket], uid: int, own: set[int]) -> list[TcpSocket]:
    """Sockets of a user that are held by a process other than the one that has the `own` inodes. Pure."""
    return [each for each in found if each.uid == uid and each.inode and each.inode not in own]


class OwnUser:
    """Looks now and then, and tells once."""

    def __init__(
        self,
        uid: int = PROXY_UID,
        look: Callable[[], Iterable[TcpSocket]] = sockets,
        own: Callable[[], set[int]] = own_inodes,
    ) -> None:
        self._uid = uid
        self._look = look
        self._own = own

    async def run(self) -> None:
        """Look until somebody is found. Under a user of another number, as outside a cluster, nothing is looked for."""
        while os.geteuid() == self._uid:
            await asyncio.sleep(LOOK_S)
            with suppress(OSError):  # no descriptor is free: another time
                if sum(1 for _ in _DESCRIPTORS.iterdir()) <= MAX_DESCRIPTORS and self.tell():
                    return

    def tell(self) -> bool:
        """Look, and say so when another process runs as this user; whether one does."""
        # A thread of ours may open and close a socket between two glances: only what is there twice counts.
        again = {each.inode for each in self._glance()}
        found = [each for each in self._glance() if each.inode in again] if again else []
        if not found:
            return False
        ports = sorted({each.port for each in found if each.listening})
        holder = f"listens on port {', '.join(map(str, ports))}" if ports else "has TCP connections"
        log.error(
            "an application runs as the sidecar's user",
            extra={
                "reason": "own_user",
                "detail": f"a process of this pod that is not the sidecar runs as user {self._uid} and {holder}: its "
                "traffic goes around the sidecar, unencrypted; set runAsUser in the securityContext of its container "
                "to another number (the USER of its image is the sidecar's)",
            },
        )
        return True

    def _glance(self) -> list[TcpSocket]:
        before = self._own()
        found = list(self._look())
        return strangers(found, self._uid, before | self._own())
