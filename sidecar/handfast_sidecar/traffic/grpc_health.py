"""grpc.health.v1.Health/Check, as kubelet asks it: one request over HTTP/2 without TLS, sans-I/O.

A full gRPC client would cost every sidecar 20 MB for this one question. What is understood is what an answer needs:
frames (RFC 9113), one message of gRPC, one field of Protocol Buffers. Headers of the answer are not decoded: a health
service that serves answers with a message, and every failure of gRPC answers without one.
"""

import struct
from typing import Final

from handfast_sidecar.errors import BadFrame

MAX_ANSWER: Final = 64 * 1024
"""Bytes of everything a server may say; an answer has about a hundred."""
MAX_FRAME: Final = 16 * 1024
"""SETTINGS_MAX_FRAME_SIZE's initial value (RFC 9113 6.5.2), which we do not raise."""
SERVING: Final = 1
_STATUS_NAMES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_STREAM: Final = 1
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PUSH_PROMISE, _PING, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 9
_END_STREAM: Final = 0x1
_ACK: Final = 0x1
_END_HEADERS: Final = 0x4
_PADDED: Final = 0x8


class HealthCheck:
    """One question and its answer: send `request`, feed `receive`, until `status` is known or BadFrame is raised."""

    def __init__(self, service: str, authority: str) -> None:
        self.request = _request(service, authority)
        self.status: int | None = None
        """Of HealthCheckResponse, once the stream has ended."""
        self._buffer = bytearray()
        self._message = bytearray()
        self._received = 0

    @property
    def status_name(self) -> str:
        """The status as the health protocol calls it."""
        return _STATUS_NAMES.get(self.status or 0, str(self.status))

    def receive(self, data: bytes) -> bytes:
        """Take what the server sent; what is to be sent back. Raises BadFrame when there will be no answer."""
        self._received += len(data)
        if self._received > MAX_ANSWER:
            raise BadFrame(f"the server sent more than {MAX_ANSWER} bytes: this is no gRPC health service")
        self._buffer += data
        replies = bytearray()
        while self.status is None and (frame := self._next_frame()) is not None:
            replies += self._frame(*frame)
        return bytes(replies)

    def _next_frame(self) -> tuple[int, int, int, bytes] | None:
        if len(self._buffer) < 9:
            return None
        length = int.from_bytes(self._buffer[:3], "big")
        kind, flags, stream = struct.unpack_from(">BBI", self._buffer, 3)
        if length > MAX_FRAME:
            raise BadFrame(f"a frame of {length} bytes: the server does not speak HTTP/2 without TLS")
        if len(self._buffer) < 9 + length:
            return None
        payload = bytes(self._buffer[9 : 9 + length])
        del self._buffer[: 9 + length]
        return kind, flags, stream & 0x7FFFFFFF, payload

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        """One frame's effect; what to send back."""
        if kind == _SETTINGS:
            return b"" if flags & _ACK else frame(_SETTINGS, _ACK, 0, b"")
        if kind == _PING:
            if len(payload) != 8:
                raise BadFrame(f"a PING of {len(payload)} bytes")
            return b"" if flags & _ACK else frame(_PING, _ACK, 0, payload)
        if kind == _GOAWAY:
            self._goaway(payload)
        elif kind == _PUSH_PROMISE:
            raise BadFrame("a PUSH_PROMISE, which nobody allowed")
        elif stream == _STREAM:
            self._on_stream(kind, flags, payload)
        return b""

    def _on_stream(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _RST_STREAM:
            raise BadFrame("the server reset the stream: it may not serve gRPC on this port")
        if kind == _DATA:
            self._message += _unpadded(flags, payload)
        if kind in {_DATA, _HEADERS} and flags & _END_STREAM:
            self.status = _read_answer(bytes(self._message))

    def _goaway(self, payload: bytes) -> None:
        """RFC 9113 6.8: streams up to the last one named are still answered."""
        if len(payload) < 8:
            raise BadFrame(f"a GOAWAY of {len(payload)} bytes")
        last, code = struct.unpack_from(">II", payload)
        if code or last & 0x7FFFFFFF < _STREAM:
            raise BadFrame(f"the server closes the connection (HTTP/2 error {code})")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113 4.1)."""
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _request(service: str, authority: str) -> bytes:
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    headers = b"".join(
        _literal(key, value)
        for key, value in (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "kube-probe/handfast"),
        )
    )
    # SETTINGS_ENABLE_PUSH (0x2) = 0.
    settings = frame(_SETTINGS, 0, 0, struct.pack(">HI", 2, 0))
    return b"".join(
        (
            _PREFACE,
            settings,
            frame(_HEADERS, _END_HEADERS, _STREAM, headers),
            frame(_DATA, _END_STREAM, _STREAM, struct.pack(">BI", 0, len(message)) + message),
        )
    )


def _literal(name: str, value: str) -> bytes:
    """A header without indexing and without Huffman coding (RFC 7541 6.2.2)."""
    return b"\x00" + _hpack_string(name) + _hpack_string(value)


def _hpack_string(text: str) -> bytes:
    """RFC 7541 5.1 and 5.2: a length with a prefix of 7 bits, then the octets."""
    octets = text.encode()
    if len(octets) < 127:
        return bytes((len(octets),)) + octets
    return b"\x7f" + _varint(len(octets) - 127) + octets


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first: the same in Protocol Buffers and in HPACK."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _unpadded(flags: int, payload: bytes) -> bytes:
    """RFC 9113 6.1."""
    if not flags & _PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise BadFrame("a DATA frame with more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def _read_answer(data: bytes) -> int:
    """The status in a gRPC message (one byte compressed-flag, four bytes length) that holds a HealthCheckResponse."""
    if len(data) < 5:
        raise BadFrame(
            "the server answered without a health status: it has no service grpc.health.v1.Health, or does not know "
            "the service that the probe names"
        )
    compressed, length = struct.unpack_from(">BI", data)
    if compressed or length != len(data) - 5:
        raise BadFrame("the answer is no single uncompressed gRPC message")
    return _status_field(data[5:])


def _status_field(message: bytes) -> int:
    """Field 1, a varint; fields of later versions are skipped. An absent field is 0, UNKNOWN."""
    position, status = 0, 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        match tag & 7:
            case 0:
                value, position = _read_varint(message, position)
                status = value if tag >> 3 == 1 else status
            case 1:
                position += 8
            case 2:
                size, position = _read_varint(message, position)
                position += size
            case 5:
                position += 4
            case wire:
                raise BadFrame(f"a field of the unknown wire type {wire} in the answer")
    if position > len(message):
        raise BadFrame("a field of the answer is cut off")
    return status


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise BadFrame("a number in the answer is cut off")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise BadFrame("a number in the answer is longer than ten bytes")
