"""The lines of the control stream."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar import __version__
from handfast_sidecar.errors import BadFrame
from handfast_sidecar.tunnel.hello import (
    DrainNotice,
    LineReader,
    RenewNotice,
    TunnelHello,
    decode,
    new_tunnel_id,
    objection,
)
from handfast_sidecar.versions import Versions

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


def test_the_golden_bytes_of_a_request_to_renew() -> None:
    assert RenewNotice("issuer_changed").encode() == b'{"renew":"issuer_changed"}\n'
    assert decode(b'{"renew":"issuer_changed"}') == RenewNotice("issuer_changed")


def test_a_line_of_a_later_version_is_skipped() -> None:
    assert decode(b'{"weather":"fine"}') is None


def test_the_golden_bytes_of_a_hello_of_a_later_version_that_still_speaks_ours() -> None:
    line = b'{"hello":1,"upTo":3,"version":"0.9.0","tunnel":"%s","mood":"good"}\n' % NAME.encode()
    hello = decode(line)
    assert hello == TunnelHello("0.9.0", NAME, speaks=Versions(1, 3))
    assert hello.encode() == line.replace(b',"mood":"good"', b"")
    assert objection(hello) == ""


def test_of_a_hello_without_a_version_in_common_only_who_said_it_is_read() -> None:
    hello = decode(b'{"hello":2,"upTo":3,"version":"9.1.0","tunnel":{"of":"another form"}}')
    assert hello == TunnelHello("9.1.0", "", speaks=Versions(2, 3))
    assert objection(hello) == (
        "there is no version of the tunnel in common: the peer's sidecar (Handfast 9.1.0) speaks 2 to 3, this sidecar"
        f" (Handfast {__version__}) speaks 1; this sidecar is too old: restart this pod, so that it gets the sidecar of"
        " the operator's version"
    )


def test_a_peer_that_is_too_old_is_named_as_such() -> None:
    assert "the peer's sidecar is too old: restart the peer's pod" in objection(
        TunnelHello("0.1.0", NAME), speaks=Versions(2, 3)
    )


@pytest.mark.parametrize(
    "line",
    [
        b'{"hello":1,"version":"1","tunnel":"eA=="}',
        b'{"hello":2}',
        b'{"hello":0,"version":"9","tunnel":"%s"}' % NAME.encode(),
        b'{"hello":true,"version":"9","tunnel":"%s"}' % NAME.encode(),
        b'{"hello":"1","version":"9","tunnel":"%s"}' % NAME.encode(),
        b'{"hello":3,"upTo":2,"version":"9","tunnel":"%s"}' % NAME.encode(),
        b'{"hello":1,"upTo":null,"version":"9","tunnel":"%s"}' % NAME.encode(),
    ],
)
def test_a_hello_that_is_none_is_refused(line: bytes) -> None:
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
