"""What one connection is to do, agreed on by its first bytes: the client makes a plan and sends it. Pure.

Rounds of question and answer, or two flows of which either may wait for the other's end: that is enough for all kinds.
Either side may read slowly, and either may abort in the middle.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

_FORMAT: Final = struct.Struct("!4sQ3B9I")
_MAGIC: Final = b"soak"
HEADER_BYTES: Final = _FORMAT.size


@unique
class Kind(IntEnum):
    """What the summary counts by."""

    KEEPALIVE = 1
    SHORT = 2
    IDLE = 3
    BULK = 4
    SLOW_READER = 5
    HALF_CLOSE = 6
    RESET = 7
    EMPTY = 8
    """Connected and closed or aborted at once: not even a plan is sent."""

    @property
    def word(self) -> str:
        return self.name.lower().replace("_", "-")


@unique
class Order(IntEnum):
    """Who sends when."""

    ROUNDS = 0
    """The client asks, the server answers as many bytes; the client ends, also before the last round."""
    COUNTED_ROUNDS = 1
    """The same, and the server ends when it has answered all."""
    TOGETHER = 2
    CLIENT_FIRST = 3
    """The server sends after the client's FIN."""
    SERVER_FIRST = 4
    """The client sends after the server's FIN."""


@unique
class Side(IntEnum):
    """One end; NOBODY where it may be none."""

    NOBODY = 0
    CLIENT = 1
    SERVER = 2

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Pace:
    """A reader that looks away for `pause_ms` after each `every` bytes; 0: it reads as fast as it can."""

    every: int = 0
    pause_ms: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One connection."""

    number: int
    kind: Kind
    order: Order
    up: int = 0
    """Bytes from the client, in all."""
    down: int = 0
    rounds: int = 0
    quiet_ms: int = 0
    """The silence between two rounds."""
    client_reads: Pace = Pace()
    server_reads: Pace = Pace()
    aborts: Side = Side.NOBODY
    abort_at: int = 0
    """Bytes, sent and received together, after which `aborts` sends an RST."""

    def encode(self) -> bytes:
        """The first bytes of the connection."""
        return _FORMAT.pack(
            _MAGIC,
            self.number,
            self.kind,
            self.order,
            self.aborts,
            self.up,
            self.down,
            self.rounds,
            self.quiet_ms,
            self.client_reads.every,
            self.client_reads.pause_ms,
            self.server_reads.every,
            self.server_reads.pause_ms,
            self.abort_at,
        )

    @classmethod
    def decode(cls, header: bytes) -> "Plan":
        """Its inverse; raises ValueError."""
        magic, number, kind, order, aborts, up, down, rounds, quiet, *rest = _FORMAT.unpack(header)
        if magic != _MAGIC:
            raise ValueError(f"not a plan: {header.hex()}")
        reads, abort_at = (Pace(*rest[:2]), Pace(*rest[2:4])), rest[4]
        return cls(number, Kind(kind), Order(order), up, down, rounds, quiet, *reads, Side(aborts), abort_at)
