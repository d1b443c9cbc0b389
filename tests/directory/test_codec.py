"""The directory protocol's lines: golden bytes, round trips, and anything else."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.directory.codec import decode_from_directory, decode_from_sidecar, encode
from handfast_sidecar.directory.messages import (
    MAX_LINE,
    AddressUpdate,
    Alive,
    Edge,
    Endpoint,
    FromDirectory,
    FromSidecar,
    Goodbye,
    Hello,
    NobodyAddress,
    Place,
    PodAddress,
    PolicyUpdate,
    Report,
    RevokedUpdate,
    ServiceAddress,
    Transport,
    Unwatch,
    Watch,
    Welcome,
)
from handfast_sidecar.errors import BadMessage
from handfast_sidecar.identity.revocation import Revocation, Revocations
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy, Mode, ModeRule
from handfast_sidecar.versions import Versions

GOLDEN = Path(__file__).parent / "golden"
A = SpiffeId.parse("spiffe://cluster.local/ns/shop/sa/orders")
TUNNEL, PLAINTEXT = Transport.TUNNEL, Transport.PLAINTEXT

FROM_SIDECAR: list[FromSidecar] = [
    Hello("0.1.0"),
    Hello("9.0.0", Versions(1, 3)),
    Watch("10.96.0.1"),
    Watch("fd00::1"),
    Unwatch("10.96.0.1"),
    Report("1f", "2030-01-02T03:04:05Z", "ab" * 32, 42),
    Report(
        "1f",
        "2030-01-02T03:04:05Z",
        "ab" * 32,
        42,
        (
            Edge("out", str(A), 8080, encrypted=True, connections=3, bytes_in=10, bytes_out=20),
            Edge("in", "10.0.0.9", 9090, encrypted=False, refused={"denied": 2}),
        ),
    ),
    Report(
        "1f",
        "2030-01-02T03:04:05Z",
        "ab" * 32,
        42,
        (
            Edge("in", "10.0.0.9", 9090, False, 1, open=1, last=1767323045.25, audited={"denied": 1}, rule="default"),
            Edge("out", str(A), 443, True, connections=2, foreign=True),
        ),
        run="0123456789abcdef",
        number=3,
        repeated=True,
        issuers=("0a" * 20, "1b" * 20),
        not_before="2030-01-01T03:04:05Z",
    ),
]
FROM_DIRECTORY: list[FromDirectory] = [
    Welcome("0.1.0"),
    Welcome("0.1.0", ("10.0.0.0/8", "fd00::/8")),
    Welcome("9.0.0", (), Versions(2, 3)),
    PolicyUpdate(7, EffectivePolicy()),
    PolicyUpdate(500, EffectivePolicy(), 900),
    PolicyUpdate(
        8,
        EffectivePolicy(
            ModeRule(Mode.STRICT, "MTLSPolicy shop/orders"), {9090: ModeRule(Mode.DISABLED, "MTLSPolicy shop/orders")}
        ),
    ),
    AddressUpdate(PodAddress("10.0.0.2", "shop/orders-0", "uid-0", TUNNEL, A)),
    AddressUpdate(PodAddress("10.0.0.2", "shop/orders-0", "uid-0", TUNNEL, A, {9090: PLAINTEXT})),
    AddressUpdate(PodAddress("10.0.0.2", "shop/orders-0", "uid-0", PLAINTEXT, A, {9090: TUNNEL})),
    AddressUpdate(PodAddress("10.0.0.3", "shop/plain-0", "uid-1")),
    AddressUpdate(
        ServiceAddress(
            "10.96.0.1",
            "shop/orders",
            {80: (Endpoint("10.0.0.2", 8080, TUNNEL, A, "uid-0"), Endpoint("192.0.2.1", 8080)), 9000: ()},
        )
    ),
    AddressUpdate(NobodyAddress("10.0.0.9")),
    Alive(),
    Goodbye("shutting_down"),
    Goodbye("no_common_version", "the sidecar is too old"),
    Place("node-1", "zone-a"),
    Place("node-1"),
    AddressUpdate(
        ServiceAddress(
            "10.96.0.2",
            "shop/local",
            {
                80: (
                    Endpoint("10.0.0.2", 8080, TUNNEL, A, "uid-0", "node-1", ("zone-a", "zone-b"), ("node-1",)),
                    Endpoint("10.0.0.3", 8080, node="node-2", terminating=True),
                )
            },
            affinity=10800,
            local=True,
        )
    ),
    RevokedUpdate(Revocations(91, (Revocation(A, reason="stolen"), Revocation(serial="1f", until=1767323042)))),
    RevokedUpdate(Revocations(92)),
]


def golden(name: str) -> list[bytes]:
    return (GOLDEN / f"{name}.jsonl").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(("message", "line"), list(zip(FROM_SIDECAR, golden("from_sidecar"), strict=True)))
def test_what_a_sidecar_says_is_these_bytes(message: FromSidecar, line: bytes) -> None:
    assert encode(message) == line
    assert decode_from_sidecar(line) == message


@pytest.mark.parametrize(("message", "line"), list(zip(FROM_DIRECTORY, golden("from_directory"), strict=True)))
def test_what_the_directory_says_is_these_bytes(message: FromDirectory, line: bytes) -> None:
    assert encode(message) == line
    assert decode_from_directory(line) == message


@pytest.mark.parametrize("line", golden("refused_from_directory"))
def test_what_the_directory_must_never_say_is_refused(line: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_from_directory(line)


@pytest.mark.parametrize("line", golden("refused_from_sidecar"))
def test_what_a_sidecar_must_never_say_is_refused(line: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_from_sidecar(line)


def test_unknown_fields_are_ignored_and_unknown_types_skipped() -> None:
    assert decode_from_sidecar(b'{"type":"watch","address":"10.0.0.1","since":3}\n') == Watch("10.0.0.1")
    assert decode_from_sidecar(b'{"type":"dance"}\n') is None
    assert decode_from_directory(b'{"type":"watch","address":"10.0.0.1"}\n') is None


def test_a_line_that_is_too_long_is_refused() -> None:
    with pytest.raises(BadMessage, match="at most"):
        decode_from_directory(b" " * (MAX_LINE + 1))


DECODERS = st.sampled_from([decode_from_directory, decode_from_sidecar])


@given(DECODERS, st.binary())
def test_arbitrary_bytes_are_no_message_and_no_other_error(decode: Callable[[bytes], object], line: bytes) -> None:
    with contextlib.suppress(BadMessage):
        assert decode(line) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["pod", "tunnel"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(DECODERS, st.sampled_from([*golden("from_directory"), *golden("from_sidecar")]), st.data())
def test_a_message_with_anything_in_a_field_is_read_or_refused(
    decode: Callable[[bytes], object], line: bytes, data: st.DataObject
) -> None:
    document: dict[str, Any] = json.loads(line)
    for name in data.draw(st.sets(st.sampled_from(sorted(document)))):
        document[name] = data.draw(VALUES)
    with contextlib.suppress(BadMessage):
        decode(json.dumps(document).encode())


@given(st.data())
def test_an_edge_with_anything_in_a_field_is_read_or_refused(data: st.DataObject) -> None:
    document: dict[str, Any] = json.loads(golden("from_sidecar")[-1])
    edge = document["edges"][0]
    for name in data.draw(st.sets(st.sampled_from(sorted(edge)))):
        edge[name] = data.draw(VALUES)
    with contextlib.suppress(BadMessage):
        assert isinstance(decode_from_sidecar(json.dumps(document).encode()), Report)


@given(DECODERS, st.sampled_from(["[" * 5000, "1" * 5000, '"\\ud800"', "{}"]))
def test_what_breaks_parsers_breaks_nothing_here(decode: Callable[[bytes], object], line: str) -> None:
    with pytest.raises(BadMessage):
        decode(line.encode())


NAMES = st.text(max_size=20)
PORTS = st.integers(1, 65535)
HINTS = st.lists(NAMES, max_size=2).map(tuple)
ENDPOINTS = st.builds(
    Endpoint, NAMES, PORTS, st.just(TUNNEL), st.just(A), NAMES, NAMES, HINTS, HINTS, st.booleans()
) | st.builds(Endpoint, NAMES, PORTS)
ENDS = st.lists(ENDPOINTS, max_size=4).map(tuple)
ANSWERS = (
    st.builds(PodAddress, NAMES, NAMES, NAMES, st.sampled_from(Transport), st.just(A))
    | st.builds(ServiceAddress, NAMES, NAMES, st.dictionaries(PORTS, ENDS), st.integers(0), st.booleans())
    | st.builds(NobodyAddress, NAMES)
)
COUNTS = st.integers(0, 2**63 - 1)
REASONS = st.dictionaries(NAMES, COUNTS)
EDGES = st.builds(
    Edge,
    NAMES,
    NAMES,
    PORTS,
    st.booleans(),
    COUNTS,
    refused=REASONS,
    open=COUNTS,
    last=st.floats(0, 1e10),
    audited=REASONS,
    rule=NAMES,
    foreign=st.booleans(),
)


@given(ANSWERS)
def test_every_answer_survives_the_wire(answer: PodAddress | ServiceAddress | NobodyAddress) -> None:
    line = encode(AddressUpdate(answer))
    assert line.count(b"\n") == 1
    assert decode_from_directory(line) == AddressUpdate(answer)


REPORTS = st.builds(
    Report,
    NAMES,
    NAMES,
    NAMES,
    st.integers(),
    st.lists(EDGES, max_size=3).map(tuple),
    NAMES,
    COUNTS,
    st.booleans(),
)


@given(REPORTS)
def test_every_report_survives_the_wire(report: Report) -> None:
    assert decode_from_sidecar(encode(report)) == report
