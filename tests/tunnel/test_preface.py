"""The PROXY protocol v2 header that opens every stream."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.errors import BadFrame
from handfast_sidecar.tunnel.preface import Preface, parse

GOLDEN_V4 = bytes.fromhex("0d0a0d0a000d0a515549540a2111000c0af400050af40006d4311f90")
_PORTS = st.integers(0, 65535)
_PREFACES = st.one_of(
    st.builds(Preface, st.ip_addresses(v=4).map(str), _PORTS, st.ip_addresses(v=4).map(str), _PORTS),
    st.builds(Preface, st.ip_addresses(v=6).map(str), _PORTS, st.ip_addresses(v=6).map(str), _PORTS),
)


def test_the_golden_bytes_of_a_preface() -> None:
    preface = Preface("10.244.0.5", 54321, "10.244.0.6", 8080)
    assert preface.pack() == GOLDEN_V4
    assert parse(GOLDEN_V4 + b"GET /") == (preface, 28)


@given(_PREFACES, st.binary(max_size=20))
def test_a_preface_is_read_as_it_was_written(preface: Preface, rest: bytes) -> None:
    packed = preface.pack()
    parsed = parse(packed + rest)
    assert parsed is not None
    read, length = parsed
    assert length == len(packed)
    for ours, theirs in ((preface.source, read.source), (preface.destination, read.destination)):
        assert (IPv6Address if ":" in ours else IPv4Address)(ours) == (IPv6Address if ":" in theirs else IPv4Address)(
            theirs
        )
    assert (read.source_port, read.destination_port) == (preface.source_port, preface.destination_port)


@given(_PREFACES, st.data())
def test_a_part_of_a_preface_waits_for_more(preface: Preface, data: st.DataObject) -> None:
    packed = preface.pack()
    assert parse(packed[: data.draw(st.integers(0, len(packed) - 1))]) is None


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_wait(data: bytes) -> None:
    try:
        parse(data)
    except BadFrame:
        return


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((0, b"GET / HTTP/1.1"), "signature"),
        ((12, b"\x20"), "version and command"),
        ((13, b"\x12"), "only TCP"),
        ((14, b"\x00\x04"), "addresses"),
        ((14, b"\xff\xff"), "at most"),
    ],
)
def test_a_wrong_preface_is_refused_with_what_is_wrong(change: tuple[int, bytes], sentence: str) -> None:
    at, replacement = change
    with pytest.raises(BadFrame, match=sentence):
        parse(GOLDEN_V4[:at] + replacement + GOLDEN_V4[at + len(replacement) :])
