"""Ethernet frames as they pass a bridge between two pods."""

import socket
import struct

CLIENT, SERVER = "10.244.0.7", "10.244.0.8"


def frame(sequence: int, payload: bytes, *, source: str = CLIENT, target: str = SERVER) -> bytes:
    """One TCP segment."""
    tcp = struct.pack("!HHIIBBHHH", 40000, 8080, sequence, 0, 5 << 4, 0x10, 0, 0, 0) + payload
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, socket.IPPROTO_TCP, 0) + addresses
    return bytes(12) + b"\x08\x00" + ip + tcp
