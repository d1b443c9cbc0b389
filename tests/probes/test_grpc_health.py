"""The health check's HTTP/2, as values. Frames are written out: they are the specification's, not our parser's."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.errors import BadFrame
from handfast_sidecar.traffic.grpc_health import HealthCheck, frame

SETTINGS = frame(4, 0, 0, b"")
HEADERS = frame(1, 0x4, 1, b"\x88")
TRAILERS = frame(1, 0x5, 1, b"\x40\x0bgrpc-status\x010")


def answer(status: int) -> bytes:
    return frame(0, 0, 1, struct.pack(">BI", 0, 2) + bytes((0x08, status)))


def failed(data: bytes) -> str:
    with pytest.raises(BadFrame) as caught:
        HealthCheck("", "a").receive(data)
    return str(caught.value)


def test_the_question_is_one_request_of_the_health_service() -> None:
    request = HealthCheck("shop", "10.0.0.1:50051").request
    assert request.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert b"\x1b/grpc.health.v1.Health/Check"[1:] in request
    assert request.endswith(b"\x00\x00\x0b\x00\x01\x00\x00\x00\x01" + b"\x00\x00\x00\x00\x06" + b"\x0a\x04shop")


@pytest.mark.parametrize(("status", "name"), [(1, "SERVING"), (2, "NOT_SERVING"), (0, "UNKNOWN"), (9, "9")])
def test_the_answer_is_the_status_when_the_stream_has_ended(status: int, name: str) -> None:
    check = HealthCheck("", "a")
    assert check.receive(SETTINGS + HEADERS + answer(status)) == frame(4, 1, 0, b"")
    assert check.status_name == "UNKNOWN", "the stream has not ended"
    check.receive(TRAILERS)
    assert (check.status, check.status_name) == (status, name)


def test_a_ping_is_answered() -> None:
    assert HealthCheck("", "a").receive(frame(6, 0, 0, b"12345678")) == frame(6, 1, 0, b"12345678")


def test_a_message_cut_into_bytes_padded_and_with_later_fields_is_read() -> None:
    message = b"\x0a\x03new" + b"\x08\x01" + b"\x15abcd" + b"\x11abcdefgh"
    padded = bytes((2,)) + struct.pack(">BI", 0, len(message)) + message + b"\0\0"
    check = HealthCheck("", "a")
    for byte in SETTINGS + HEADERS + frame(0, 0x8, 1, padded) + TRAILERS:
        check.receive(bytes((byte,)))
    assert check.status == 1


def test_a_server_without_the_service_answers_without_a_message() -> None:
    assert "has no service grpc.health.v1.Health" in failed(SETTINGS + TRAILERS)


def test_what_is_no_grpc_is_named() -> None:
    assert "does not speak HTTP/2" in failed(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert "reset the stream" in failed(frame(3, 0, 1, b"\0\0\0\1"))
    assert "closes the connection" in failed(frame(7, 0, 0, struct.pack(">II", 0, 0)))
    assert "compressed" in failed(frame(0, 1, 1, b"\1\0\0\0\0"))
    assert "more than" in failed(frame(8, 0, 0, b"\0" * 4) * 6000)


def test_a_graceful_goaway_still_lets_the_answer_come() -> None:
    check = HealthCheck("", "a")
    check.receive(frame(7, 0, 0, struct.pack(">II", 2**31 - 1, 0)) + HEADERS + answer(1) + TRAILERS)
    assert check.status == 1


frames = st.builds(frame, st.integers(0, 10), st.integers(0, 255), st.integers(0, 3), st.binary(max_size=40))


@given(st.one_of(st.binary(max_size=200), st.lists(frames, max_size=8).map(b"".join)), st.integers(1, 50))
def test_whatever_a_server_sends_ends_in_a_status_or_in_bad_frame(data: bytes, step: int) -> None:
    check = HealthCheck("", "a")
    try:
        for start in range(0, len(data), step):
            check.receive(data[start : start + step])
    except BadFrame:
        return
    assert check.status is None or check.status >= 0
