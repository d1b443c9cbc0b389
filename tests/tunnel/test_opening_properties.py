"""What opens a tunnel and a stream: prefaces and control lines, made of any bytes and cut anywhere."""

import json
from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from handfast_sidecar.errors import BadFrame
from handfast_sidecar.tunnel.hello import MAX_LINE, DrainNotice, LineReader, TunnelHello, decode, new_tunnel_id
from handfast_sidecar.tunnel.preface import FIXED_BYTES, MAX_BYTES, SIGNATURE, Preface, parse

_ADDRESSES = st.one_of(st.tuples(*[st.ip_addresses(v=4)] * 2), st.tuples(*[st.ip_addresses(v=6)] * 2))
_PORTS = st.integers(0, 65535)


@settings(deadline=None)
@given(_ADDRESSES, _PORTS, _PORTS)
def test_a_preface_is_the_inverse_of_what_it_is_read_from(
    addresses: tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address], source_port: int, destination_port: int
) -> None:
    source, destination = addresses
    packed = Preface(str(source), source_port, str(destination), destination_port).pack()
    parsed = parse(packed)
    assert parsed is not None
    read, length = parsed
    assert (ip_address(read.source), ip_address(read.destination)) == addresses
    assert (read.source_port, read.destination_port, length) == (source_port, destination_port, len(packed))
    assert read.pack() == packed


_HEADERS = st.builds(
    lambda command, kind, length, rest: SIGNATURE + bytes((command, kind)) + length.to_bytes(2, "big") + rest,
    st.sampled_from((0x21, 0x21, 0x21, 0x20, 0x11)),
    st.sampled_from((0x11, 0x21, 0x12, 0)),
    st.one_of(st.integers(0, 60), st.integers(MAX_BYTES - 20, MAX_BYTES + 20), st.integers(0, 65535)),
    st.integers(0, 3 * MAX_BYTES).map(bytes),
)


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=100), _HEADERS))
def test_a_preface_is_read_refused_or_waited_for_within_its_bound_however_it_comes(data: bytes) -> None:
    decided: object = None
    for size in range(len(data) + 1):
        try:
            parsed = parse(data[:size])
        except BadFrame as error:
            parsed, told = None, str(error)
        else:
            told = ""
        now = parsed or told or None
        assert now is not None or size < MAX_BYTES
        if parsed is not None:
            assert FIXED_BYTES < parsed[1] <= min(size, MAX_BYTES)
        assert decided in {None, now}
        decided = now


_LINES = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda: TunnelHello("0.1.0", new_tunnel_id(), new_tunnel_id()).encode()),
    st.text().map(lambda reason: DrainNotice(reason).encode()),
    st.integers(MAX_LINE - 3, MAX_LINE + 3).map(lambda size: b"x" * size),
)


@settings(deadline=None)
@given(st.lists(_LINES, max_size=6), st.lists(st.integers(1, 5000), min_size=1, max_size=8))
def test_lines_do_not_depend_on_how_their_bytes_come_but_for_one_that_never_ends(
    parts: list[bytes], sizes: list[int]
) -> None:
    data, reader, cut = b"\n".join(parts), LineReader(), list[bytes]()
    refused = any(len(part) > MAX_LINE for part in data.split(b"\n"))
    try:
        start = 0
        while start < len(data):
            size = sizes[start % len(sizes)]
            cut += reader.feed(data[start : start + size])
            start += size
    except BadFrame:
        assert refused
        return
    assert not refused
    assert cut == data.split(b"\n")[:-1]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_DOCUMENTS = st.fixed_dictionaries(
    {}, optional={"hello": st.just(1) | _JSON, "version": _JSON, "tunnel": _JSON, "renews": _JSON, "drain": _JSON}
)


@settings(deadline=None)
@given(st.binary(max_size=80) | _DOCUMENTS.map(lambda document: json.dumps(document).encode()))
def test_a_control_line_is_understood_skipped_or_refused(line: bytes) -> None:
    try:
        read = decode(line)
    except BadFrame:
        return
    if read is not None:
        assert decode(read.encode()) == read
    if isinstance(read, TunnelHello):
        assert [type(name) for name in (read.version, read.tunnel, read.renews)] == [str, str, str]
