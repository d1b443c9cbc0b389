"""What an application does on a connection, step by step, and what it sees of the other: facts that can be compared.

A script is a tuple of steps. Both scripts of a conversation run at once; where their order matters one gives a cue,
which goes past the network, and the other waits for it.
"""

import errno
import hashlib
import select
import socket
import struct
import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Callable
from fcntl import ioctl
from random import Random
from termios import FIONREAD
from typing import Final

PATIENCE_S: Final = 10.0
"""Seconds after which an application has heard nothing."""
STOPPED_S: Final = 0.5
"""Seconds in which no byte more is taken: the writer is held back."""
PIECE: Final = 64 << 10
BOUND: Final = 32 << 20
"""Bytes that may be under way to a reader who does not read: kernel buffers of three connections, and our window."""
WORDS: Final = {errno.ECONNRESET: "reset", errno.EPIPE: "broken pipe", errno.ECONNREFUSED: "refused"}

Step = Callable[["End"], object]
Script = tuple[Step, ...]


class Cues:
    """What the two scripts tell each other without the network."""

    def __init__(self) -> None:
        self._given: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self.said = b""
        """Digest of what a script said that another is to hear."""

    def give(self, name: str) -> None:
        self._given[name].set()

    def wait(self, name: str) -> None:
        assert self._given[name].wait(PATIENCE_S), f"nobody gave the cue {name!r}"


class NotConnected(Exception):
    """There is no connection to take a further step on."""


class End:
    """One application's end; `connect` dials or accepts when the first step needs the connection."""

    def __init__(self, connect: Callable[[], socket.socket], cues: Cues) -> None:
        self._connect = connect
        self._sock: socket.socket | None = None
        self.cues = cues
        self.seen: list[str] = []

    @property
    def sock(self) -> socket.socket:
        if self._sock is None:
            try:
                self._sock = self._connect()
            except OSError as error:
                self.sees(error)
                raise NotConnected from None
            self._sock.settimeout(PATIENCE_S)
        return self._sock

    def sees(self, fact: str | OSError) -> None:
        """Remember it."""
        if isinstance(fact, TimeoutError):
            fact = "silence"
        elif isinstance(fact, OSError):
            fact = WORDS.get(fact.errno or 0, str(fact))
        self.seen.append(fact)

    def follow(self, script: Script) -> None:
        """Take the steps in turn."""
        try:
            for step in script:
                step(self)
        except NotConnected:
            return

    def send(self, data: bytes) -> bool:
        """Whether it was taken; else why not is seen."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            self.sees(error)
            return False
        return True

    def receive(self, count: int) -> bytes | None:
        """Some bytes, none at the end; None when it failed, and why is seen."""
        try:
            return self.sock.recv(count)
        except OSError as error:
            self.sees(error)
            return None

    def over(self) -> None:
        if self._sock is not None:
            self._sock.close()


# --- steps


def opens(end: End) -> None:
    """Connect or accept, and no more."""
    _ = end.sock


def says(data: bytes) -> Step:
    return lambda end: end.send(data)


def says_bytewise(data: bytes) -> Step:
    """Each byte on its own, as fast as they go."""

    def step(end: End) -> None:
        end.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(len(data)):
            if not end.send(data[position : position + 1]):
                return

    return step


def says_urgently(byte: bytes) -> Step:
    """TCP's urgent data (RFC 6093)."""
    return lambda end: end.sock.send(byte, socket.MSG_OOB)


def says_until_it_fails(end: End) -> None:
    """Write and write: whoever reads no more must be noticed."""
    while end.send(bytes(PIECE)):
        pass


def says_until_held_back(end: End) -> None:
    """Write until nothing more is taken, then tell how it stands, and what the other is to hear."""
    digest, taken, random = hashlib.sha256(), 0, Random(1)  # noqa: S311 - it only has to differ from place to place
    end.sock.setblocking(False)
    while taken < BOUND and select.select([], [end.sock], [], STOPPED_S)[1]:
        piece = random.randbytes(PIECE)
        sent = end.sock.send(piece)
        digest.update(piece[:sent])
        taken += sent
    end.sock.settimeout(PATIENCE_S)
    end.cues.said = digest.digest()
    end.sees("held back" if taken < BOUND else f"not held back after {BOUND} bytes")


def exchanges(size: int, seed: int) -> Step:
    """Write much and read much at once, to both ends."""

    def step(end: End) -> None:
        def write() -> None:
            end.send(Random(seed).randbytes(size))  # noqa: S311 - as above
            half_closes(end)

        writer = threading.Thread(target=write)
        _ = end.sock
        writer.start()
        reads_to_the_end(end)
        writer.join()

    return step


def reads(count: int) -> Step:
    """So many bytes, or what there is before an end."""

    def step(end: End) -> None:
        heard = b""
        while len(heard) < count:
            more = end.receive(count - len(heard))
            if not more:
                _tell(end, heard)
                if more is not None:
                    end.sees("the end")
                return
            heard += more
        _tell(end, heard)

    return step


def reads_to_the_end(end: End) -> None:
    """Whatever comes, and how it ends."""
    heard = bytearray()
    failures = len(end.seen)
    while more := end.receive(1 << 20):
        heard += more
    ending = end.seen[failures:] or ["the end"]
    del end.seen[failures:]
    _tell(end, bytes(heard))
    end.seen += ending


def reads_what_was_said(end: End) -> None:
    """To the end, and only whether it was the same."""
    digest = hashlib.sha256()
    while more := end.receive(1 << 20):
        digest.update(more)
    end.sees("heard all of it" if digest.digest() == end.cues.said else "heard something else")


def reads_urgent(end: End) -> None:
    """The urgent byte, when there is one."""
    if not select.select([], [], [end.sock], STOPPED_S)[2]:
        end.sees("nothing urgent")
        return
    end.sock.setblocking(False)  # else Python waits for ordinary data first
    end.sees(f"heard urgently {end.sock.recv(1, socket.MSG_OOB)!r}")
    end.sock.settimeout(PATIENCE_S)


def takes_urgent_inline(end: End) -> None:
    """Urgent data among the other, as the option SO_OOBINLINE asks."""
    end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def hears_nothing(seconds: float) -> Step:
    """A while in which nothing comes."""
    return lambda end: end.sees("noise" if select.select([end.sock], [], [], seconds)[0] else "silence")


def leaves_unread(count: int) -> Step:
    """Wait until so many bytes have come, without reading them."""

    def step(end: End) -> None:
        waiting = array("i", [0])
        deadline = time.monotonic() + PATIENCE_S
        while waiting[0] < count:
            ioctl(end.sock, FIONREAD, waiting)
            assert time.monotonic() < deadline, f"{count} bytes never came"
            time.sleep(0.001)

    return step


def half_closes(end: End) -> None:
    try:
        end.sock.shutdown(socket.SHUT_WR)
    except OSError as error:
        end.sees(error)


def closes(end: End) -> None:
    end.sock.close()


def aborts(end: End) -> None:
    """Close with an RST."""
    end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.sock.close()


def pauses(seconds: float) -> Step:
    """Say nothing for a while: silence is what some forms are about."""
    return lambda _end: time.sleep(seconds)


def cues(name: str) -> Step:
    return lambda end: end.cues.give(name)


def waits_for(name: str) -> Step:
    return lambda end: end.cues.wait(name)


def _tell(end: End, heard: bytes) -> None:
    if len(heard) > 64:
        end.sees(f"heard {len(heard)} bytes, {hashlib.sha256(heard).hexdigest()[:16]}")
    elif heard:
        end.sees(f"heard {heard!r}")
