"""HTTP answers from bytes: what is whole, and that nothing else than BadInput comes of what is none."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.cluster.http_answer import Answer, is_whole, parse
from handfast_sidecar.errors import BadInput

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length:  5 \r\nServer: x\r\n\r\nhello"


@given(st.integers(0, len(ANSWER)))
def test_an_answer_is_whole_with_its_last_byte(length: int) -> None:
    assert is_whole(ANSWER[:length]) == (length == len(ANSWER))


def test_a_length_in_the_body_is_none() -> None:
    assert not is_whole(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n\r\nContent-Length: 1\r\n")


@given(st.binary(max_size=200) | st.integers(0, len(ANSWER)).map(lambda cut: ANSWER[:cut] + b"\xff" + ANSWER[cut:]))
def test_any_bytes_are_an_answer_or_bad_input(data: bytes) -> None:
    with suppress(BadInput):
        assert isinstance(parse(data), Answer)


def test_an_answer_is_its_status_and_its_body() -> None:
    assert parse(ANSWER) == Answer(200, b"hello")
    with pytest.raises(BadInput):
        parse(ANSWER[:-1])
