"""The lines of the control stream."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.errors import BadFrame
from handfast_sidecar.tunnel.hello import DrainNotice, LineReader, TunnelHello, decode, new_tunnel_id

NAME = base64.b64encode(bytes(32)).decode()


def test_the_golden_bytes_of_a_hello() -> None:
    hello = TunnelHello("0.1.0", NAME)
    assert hello.encode() == b'{"hello":1,"version":"0.1.0","tunnel":"%s"}\n' % NAME.encode()
    assert decode(hello.encode()) == hello


def test_a_renewal_names_the_tunnel_it_takes_over_from() -> None:
    hello = TunnelHello("0.1.0", new_tunnel_id(), renews=NAME)
    assert decode(hello.encode()) == hello


def test_a_drain_notice_round_trips() -> None:
    assert decode(DrainNotice("shutting_down").encode()) == DrainNotice("shutting_down")


def test_a_line_of_a_later_version_is_skipped() -> None:
    assert decode(b'{"weather":"fine"}') is None


@pytest.mark.parametrize(
    "line", [b'{"hello":2,"version":"9","tunnel":""}', b'{"hello":1,"version":"1","tunnel":"eA=="}']
)
def test_a_hello_that_is_not_ours_is_refused(line: bytes) -> None:
    with pytest.raises(BadFrame):
        decode(line)


@given(st.binary(max_size=200))
def test_arbitrary_lines_raise_nothing_but_bad_frame(line: bytes) -> None:
    try:
        decode(line)
    except BadFrame:
        return


def test_lines_are_cut_wherever_the_bytes_break() -> None:
    reader = LineReader()
    assert [reader.feed(bytes([byte])) for byte in b"ab\nc\n"] == [[], [], [b"ab"], [], [b"c"]]


def test_a_line_without_an_end_is_refused() -> None:
    with pytest.raises(BadFrame, match="longer"):
        LineReader().feed(bytes(5000))
