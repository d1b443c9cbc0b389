"""yamux frames: the 12-byte header that precedes everything on a tunnel (hashicorp/yamux, spec.md, version 0).

Only the header's form lives here; what a frame means is `mux`'s business.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from handfast_sidecar.errors import BadFrame

VERSION: Final = 0
HEADER_BYTES: Final = 12
INITIAL_WINDOW: Final = 256 * 1024
"""Bytes either side may send on a new stream before the first update; fixed by the specification."""
MAX_WINDOW: Final = (1 << 32) - 1
MAX_DATA_BYTES: Final = 256 * 1024 - HEADER_BYTES
"""Longest payload we send in one frame, so that streams take turns; a peer's longer ones are read. With its header it
fills sixteen TLS records exactly: another, of 12 bytes, would cost a system call on each side."""

HEADER: Final = struct.Struct(">BBHII")
"""Version, type, flags, stream ID, and a length whose meaning depends on the type."""


class FrameType(IntEnum):
    """What the length field means: bytes that follow, window credit, an opaque value, an error code."""

    DATA = 0
    WINDOW_UPDATE = 1
    PING = 2
    GO_AWAY = 3


class Flag(IntFlag):
    """SYN opens a stream or a ping, ACK answers either, FIN half-closes, RST aborts."""

    SYN = 1
    ACK = 2
    FIN = 4
    RST = 8


class GoAway(IntEnum):
    """Why a session ends."""

    NORMAL = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """A header, read. The hot path uses `HEADER` directly; this is for tests and for messages to people."""

    type: FrameType
    flags: Flag
    stream: int
    length: int

    def pack(self) -> bytes:
        """The 12 bytes of this header."""
        return HEADER.pack(VERSION, self.type, self.flags, self.stream, self.length)

    @classmethod
    def unpack(cls, data: bytes | bytearray | memoryview) -> "Frame":
        """Read 12 bytes; raises BadFrame for another version, type or flag."""
        version, kind, flags, stream, length = HEADER.unpack_from(data)
        check_header(version, kind, flags)
        return cls(FrameType(kind), Flag(flags), stream, length)


def check_header(version: int, kind: int, flags: int) -> None:
    """Refuse what no yamux of this version sends."""
    if version != VERSION:
        raise BadFrame(f"yamux version {version}, this sidecar speaks {VERSION}")
    if kind > FrameType.GO_AWAY:
        raise BadFrame(f"yamux frame of unknown type {kind}")
    if flags > 15:
        raise BadFrame(f"yamux frame with unknown flags 0x{flags:x}")
