"""What goes over the wire between pods: frames of the pod bridge, put together to the bytes of each direction.

On a bridge every frame between two pods passes by, so the capture sees what a neighbour on the network would.
"""

import contextlib
import ctypes
import ipaddress
import select
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from handfast_lab.network import packet_filter

ALL_PROTOCOLS = 0x0003
CLONE_NEWNET = 0x40000000
IPV4 = b"\x08\x00"
SO_RCVBUFFORCE = 33  # <asm/socket.h>
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 263, 1, 1  # <linux/if_packet.h>
BUFFER = 32 * 1024 * 1024
"""Bytes the kernel keeps for us: seconds of a test's traffic, should this thread not run for a while."""
DRAINED_S = 0.3
"""A capture that ends waits this long for a further frame: what was sent before is then in the kernel's buffer."""

TLS_HANDSHAKE, TLS_SERVER_HELLO, TLS13, SUPPORTED_VERSIONS = 22, 2, 0x0304, 43


@dataclass(frozen=True, slots=True)
class Direction:
    """The sender's side of one TCP connection."""

    source: str
    source_port: int
    target: str
    target_port: int


class Capture:
    """The TCP payload that was seen, by direction; read it after the `with` block has ended."""

    def __init__(self, only: frozenset[str]) -> None:
        self._only = only
        self._segments: dict[Direction, dict[int, bytes]] = defaultdict(dict)
        self._origins: dict[Direction, int] = {}

    def streams(self) -> dict[Direction, bytes]:
        """Each direction's bytes in the order of their sequence numbers, retransmissions once."""
        return {direction: _join(segments) for direction, segments in self._segments.items()}

    def between(self, client: str, server: str, port: int | None = None) -> dict[Direction, bytes]:
        """Only the directions of connections that `client` opened to, or has with, `server` (and its `port`)."""
        return {
            way: content
            for way, content in self.streams().items()
            if {way.source, way.target} == {client, server}
            and (port is None or port == (way.target_port if way.target == server else way.source_port))
        }

    def contains(self, plaintext: bytes) -> bool:
        """Whether these bytes went over the wire as they are, in any direction."""
        return any(plaintext in content for content in self.streams().values())

    def payload_bytes(self) -> int:
        """How much was seen: a test that asks for the absence of something wants to know that there was anything."""
        return sum(map(len, self.streams().values()))

    def tls13_servers(self) -> set[tuple[str, int]]:
        """Addresses and ports whose ServerHello was seen and chose TLS 1.3."""
        return {(way.source, way.source_port) for way, content in self.streams().items() if chose_tls13(content)}

    def add(self, frame: bytes) -> None:
        """Take one Ethernet frame; what is no TCP over IPv4 of our addresses is left out."""
        if frame[12:14] != IPV4 or frame[23] != socket.IPPROTO_TCP:
            return
        source, target = (str(ipaddress.IPv4Address(frame[at : at + 4])) for at in (26, 30))
        if self._only and not self._only & {source, target}:
            return
        header = (frame[14] & 0x0F) * 4
        tcp = frame[14 + header : 14 + struct.unpack_from("!H", frame, 16)[0]]
        source_port, target_port, sequence = struct.unpack_from("!HHI", tcp)
        if payload := tcp[(tcp[12] >> 4) * 4 :]:
            way = Direction(source, source_port, target, target_port)
            segments = self._segments[way]
            # Counted from the first that was seen, so that a wrap of the 32 bits changes nothing.
            sequence = (sequence - self._origins.setdefault(way, sequence) + (1 << 31)) % (1 << 32)
            if len(payload) > len(segments.get(sequence, b"")):
                segments[sequence] = payload


def _join(segments: dict[int, bytes]) -> bytes:
    joined, expected = bytearray(), None
    for sequence in sorted(segments):
        payload = segments[sequence]
        known = 0 if expected is None else max(0, expected - sequence)
        joined += payload[known:]
        expected = max(expected or 0, sequence + len(payload))
    return bytes(joined)


def chose_tls13(server_bytes: bytes) -> bool:
    """Whether a stream begins with a ServerHello that selects TLS 1.3 (RFC 8446, 4.1.3 and 4.2.1)."""
    if len(server_bytes) < 44 or server_bytes[0] != TLS_HANDSHAKE or server_bytes[5] != TLS_SERVER_HELLO:
        return False
    at = 5 + 4 + 2 + 32  # record header, handshake header, legacy version, random
    at += 1 + server_bytes[at] + 2 + 1  # session id, cipher suite, compression
    end = at + 2 + struct.unpack_from("!H", server_bytes, at)[0]
    at += 2
    while at + 4 <= min(end, len(server_bytes)):
        kind, length = struct.unpack_from("!HH", server_bytes, at)
        if kind == SUPPORTED_VERSIONS:
            return bool(struct.unpack_from("!H", server_bytes, at + 4)[0] == TLS13)
        at += 4 + length
    return False


@contextmanager
def capturing(namespace: Path, bridge: str, *addresses: str) -> Iterator[Capture]:
    """Capture what passes a network namespace's bridge from or to these pods (none: all) while the block runs.

    `namespace`: a path that setns(2) takes. Raises OSError.
    """
    listening = _socket_inside(namespace, bridge)
    if addresses:
        packet_filter.attach(listening, packet_filter.from_or_to(addresses))
    capture, end = Capture(frozenset(addresses)), threading.Event()

    def read() -> None:
        while True:
            if select.select([listening], [], [], DRAINED_S)[0]:
                capture.add(listening.recv(65536))
            elif end.is_set():
                return

    reader = threading.Thread(target=read, name="capture")
    reader.start()
    try:
        yield capture
    finally:
        end.set()
        reader.join()
        listening.close()


def _socket_inside(namespace: Path, bridge: str) -> socket.socket:
    """A packet socket that belongs to that network: a socket stays where it was made, whoever reads it."""
    made: list[socket.socket | OSError] = []

    def make() -> None:  # in a thread that ends with it, for a thread alone can change its namespace
        try:
            with namespace.open() as entered:
                if ctypes.CDLL(None, use_errno=True).setns(entered.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            listening = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
            with contextlib.suppress(PermissionError):  # not for root of a user namespace: less patience must do
                listening.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
            listening.bind((bridge, 0))
            # Without this a bridge shows us only the frames that are meant for itself.
            promiscuous = struct.pack("iHH8s", socket.if_nametoindex(bridge), PACKET_MR_PROMISC, 0, b"")
            listening.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, promiscuous)
            made.append(listening)
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    result = made[0]
    if isinstance(result, OSError):
        raise result
    return result
