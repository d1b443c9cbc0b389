"""The PROXY protocol v2 header that opens every stream: where the connection came from, and where it wants to go.

The server needs no protocol detection because of it: it is told the port (HAProxy, proxy-protocol.txt, section 2.2).
"""

import socket
import struct
from dataclasses import dataclass
from typing import Final

from handfast_sidecar.errors import BadFrame

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_BYTES: Final = 16
MAX_BYTES: Final = 16 + 36 + 1024
"""A header longer than two IPv6 addresses and 1 KiB of TLVs is refused: nothing we know sends one."""
VERSION_PROXY: Final = 0x21
FIXED: Final = struct.Struct(">12sBBH")
PORTS: Final = struct.Struct(">HH")
TCP4: Final = 0x11
TCP6: Final = 0x21
_ADDRESS_BYTES: Final = {TCP4: 4, TCP6: 16}
_FAMILY: Final = {TCP4: socket.AF_INET, TCP6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Preface:
    """Both ends of an application's connection, as the application sees them."""

    source: str
    source_port: int
    destination: str
    destination_port: int

    def pack(self) -> bytes:
        """The header; source and destination must be of one address family."""
        kind = TCP6 if ":" in self.source else TCP4
        if (kind == TCP6) != (":" in self.destination):
            raise BadFrame(f"source {self.source} and destination {self.destination} are of different address families")
        family = _FAMILY[kind]
        body = (
            socket.inet_pton(family, self.source)
            + socket.inet_pton(family, self.destination)
            + PORTS.pack(self.source_port, self.destination_port)
        )
        return FIXED.pack(SIGNATURE, VERSION_PROXY, kind, len(body)) + body


def parse(data: bytes | bytearray | memoryview) -> tuple[Preface, int] | None:
    """The header at the start of `data` and its length in bytes; None when more bytes are needed.

    Raises BadFrame as soon as the bytes cannot become a header that names two TCP addresses. TLVs are skipped.
    """
    start = bytes(data[:FIXED_BYTES])
    if start[:12] != SIGNATURE[: len(start)]:
        raise BadFrame("the stream does not begin with a PROXY protocol v2 signature")
    if len(start) < FIXED_BYTES:
        return None
    _, command, kind, length = FIXED.unpack(start)
    if command != VERSION_PROXY:
        raise BadFrame(
            f"PROXY header with version and command 0x{command:02x}, expected 0x{VERSION_PROXY:02x} (v2, PROXY)"
        )
    size = _ADDRESS_BYTES.get(kind)
    if size is None:
        raise BadFrame(f"PROXY header for family and protocol 0x{kind:02x}: only TCP over IPv4 and IPv6 is carried")
    total = FIXED_BYTES + length
    if total > MAX_BYTES:
        raise BadFrame(f"PROXY header of {total} bytes, at most {MAX_BYTES} are read")
    if length < 2 * size + PORTS.size:
        raise BadFrame(f"PROXY header with {length} bytes of addresses, two need {2 * size + PORTS.size}")
    if len(data) < total:
        return None
    body = bytes(data[FIXED_BYTES : FIXED_BYTES + 2 * size + PORTS.size])
    source_port, destination_port = PORTS.unpack_from(body, 2 * size)
    family = _FAMILY[kind]
    source = socket.inet_ntop(family, body[:size])
    destination = socket.inet_ntop(family, body[size : 2 * size])
    return Preface(source, source_port, destination, destination_port), total
