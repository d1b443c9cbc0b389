"""Accepting: a slot is taken before a connection is, so that a flood waits in the kernel's queue, not in our memory."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from handfast_sidecar.loop import poller
from handfast_sidecar.loop.poller import READ

log = logging.getLogger(__name__)

Accepted = Callable[[socket.socket, str, int], None]
"""Called with each connection, and its peer's address and port."""

BURST: Final = 64
"""Connections accepted in one turn of the loop, so that a storm does not starve those that run."""
OUT_OF_DESCRIPTORS_S: Final = 0.5
"""Seconds to wait when the process has no descriptor left."""
_PASSING: Final = frozenset({errno.ECONNABORTED, errno.EINTR, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH})


class Listener:
    """Accepts on one port, on both address families, while slots are free; `release` gives one back."""

    def __init__(self, name: str, sockets: Sequence[socket.socket], slots: int, accepted: Accepted) -> None:
        self.name = name
        self._sockets = list(sockets)
        self._free = slots
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._poller = poller.current()
        self._listening = False
        self._listen()

    @property
    def port(self) -> int:
        port: int = self._sockets[0].getsockname()[1]
        return port

    def release(self) -> None:
        """A connection that took a slot is over."""
        self._free += 1
        if not self._listening:
            self._listen()

    def close(self) -> None:
        """Accept no more; connections that run are not touched."""
        self._pause()
        for sock in self._sockets:
            sock.close()
        self._sockets = []

    def _listen(self) -> None:
        if self._sockets and self._free > 0:
            self._listening = True
            for sock in self._sockets:
                self._poller.watch(sock.fileno(), READ, partial(self._readable, sock))

    def _pause(self) -> None:
        self._listening = False
        for sock in self._sockets:
            self._poller.forget(sock.fileno())

    def _readable(self, listener: socket.socket, _events: int) -> None:
        for _ in range(BURST):
            if self._free <= 0:
                self._pause()
                log.warning("all slots are taken: new connections wait", extra={"listener": self.name})
                return
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _PASSING:
                    continue
                self._pause()
                self._loop.call_later(OUT_OF_DESCRIPTORS_S, self._listen)
                log.error("cannot accept, trying again", extra={"listener": self.name, "error": str(error)})
                return
            sock.setblocking(False)
            self._free -= 1
            self._accepted(sock, peer[0], peer[1])
