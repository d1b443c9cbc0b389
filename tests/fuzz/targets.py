"""What is fuzzed: for each parser that strangers can reach, seeds, a way to change an input, and what must hold."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from fuzz import mux_input
from handfast_sidecar.directory.codec import decode_from_directory, decode_from_sidecar, encode
from handfast_sidecar.errors import BadFrame, BadMessage
from handfast_sidecar.tunnel import preface
from handfast_sidecar.tunnel.hello import MAX_LINE, DrainNotice, LineReader, TunnelHello, decode
from handfast_sidecar.tunnel.preface import Preface

_GOLDEN: Final = Path(__file__).parents[1] / "directory" / "golden"
_TOKENS: Final = (b"", b"\n", b"\0", b"\xff", b"{", b'"', b"[" * 2000, b"1" * 4400, b"\r\n\r\n\0\r\nQUIT\n", b"\\ud800")
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 65535, 65536, 1 << 64, 10**4299, 0.5, float("inf"), float("nan"), 1e308),
    *("", "x", "\ud800", "٣", "pod", "service", "nobody", "tunnel", "plaintext", "Strict", "9" * 5000, "a" * 5000),
    *([], {}, [[]], [{}], {"": None}, {"0": "tunnel"}, {"80": [{}]}, {"1": "tunnel"}),
)


@dataclass(frozen=True)
class Target:
    """`run` returns for what is accepted or properly refused, and raises for a finding."""

    name: str
    seeds: tuple[bytes, ...]
    mutated: Callable[[Random, bytes, bytes], bytes]
    run: Callable[[bytes], None]


def _havoc(random: Random, data: bytes, other: bytes) -> bytes:
    """Bytes changed without knowing what they mean."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        at = random.randrange(len(out) + 1)
        match random.randrange(6):
            case 0:
                out[at:at] = random.choice(_TOKENS)
            case 1:
                del out[at : at + random.randrange(1, 20)]
            case 2:
                start = random.randrange(len(other) + 1)
                out[at:at] = other[start : start + random.randrange(1, 60)]
            case 3:
                out[at : at + 1] = random.randbytes(1)
            case 4 if at < len(out):
                out[at] ^= 1 << random.randrange(8)
            case _:
                out[at : at + 2] = random.choice((b"\0\0", b"\xff\xff", b"\0\x0c", b"\0\x24", b"\x04\x24"))
    return bytes(out[: 1 << 14])


def _json_havoc(random: Random, data: bytes, other: bytes) -> bytes:
    """A line whose values are others, here and there; now and then bytes that are no JSON."""
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    try:
        document = json.loads(lines[at])
        donor = json.loads(other.split(b"\n")[0])
    except (ValueError, RecursionError):
        return _havoc(random, data, other)
    if random.random() < 0.1:
        return _havoc(random, data, other)
    for _ in range(random.choice((1, 1, 2, 4))):
        document = _changed(random, document, donor)
    lines[at] = json.dumps(document).encode()
    return b"\n".join(lines)[: 1 << 16]


def _changed(random: Random, value: Any, donor: Any) -> Any:
    if isinstance(value, dict) and value and random.random() < 0.85:
        name = random.choice(list(value))
        match random.randrange(8):
            case 0:
                return {each: inner for each, inner in value.items() if each != name}
            case 1 if isinstance(donor, dict):
                return value | donor
            case 2:
                return value | {random.choice(("80", "0", "65536", "٣", "-1", "identity", "exceptions")): value[name]}
            case _:
                return value | {name: _changed(random, value[name], donor)}
    if isinstance(value, list) and value and random.random() < 0.7:
        at = random.randrange(len(value))
        return [*value[:at], _changed(random, value[at], donor), *value[at : at + random.randrange(3)]]
    return random.choice((*_VALUES, donor))


def _run_preface(data: bytes) -> None:
    """The outcome does not depend on what follows the header, nor on how much of it comes at a time."""
    for size in (*range(min(len(data), 64)), len(data)):
        try:
            outcome = preface.parse(data[:size])
        except BadFrame:
            return
        if outcome is None:
            assert size < preface.MAX_BYTES, "waits for more than the longest header"
            continue
        header, length = outcome
        assert 28 <= length <= min(size, preface.MAX_BYTES)
        assert preface.parse(data) == outcome
        assert preface.parse(packed := header.pack()) == (header, len(packed))
        return


def _run_control(data: bytes) -> None:
    """As the control stream's sink: lines however they are cut, each understood, skipped or refused."""
    size = 1 + data[0] % 64 if data else 1
    reader, whole, cut = LineReader(), LineReader(), list[bytes]()
    try:
        for start in range(0, len(data), size):
            cut += reader.feed(data[start : start + size])
            assert len(reader._rest) <= MAX_LINE
        assert cut == whole.feed(data), "lines depend on how the bytes are cut"
        for text in cut:
            line = decode(text)
            name: object = line.tunnel if isinstance(line, TunnelHello) else ""
            assert isinstance(name, str), f"the tunnel's name is {name!r}"
            if line is not None:
                assert decode(line.encode()) == line
    except BadFrame:
        return


def _run_codec(read: Callable[[bytes], Any], data: bytes) -> None:
    """What is read is what would be written, and what is written is read."""
    try:
        message = read(data)
    except BadMessage:
        return
    if message is not None:
        assert read(encode(message)) == message


def _golden(name: str) -> tuple[bytes, ...]:
    return tuple((_GOLDEN / f"{name}.jsonl").read_bytes().splitlines())


def _prefaces() -> tuple[bytes, ...]:
    v4, v6 = Preface("10.0.0.5", 54321, "10.0.0.6", 8080).pack(), Preface("fd00::5", 1, "::ffff:10.0.0.6", 65535).pack()
    with_tlv = v4[:14] + b"\0\x10" + v4[16:] + b"\x04\0\x01x"
    return v4, v6 + b"GET / HTTP/1.1\r\n", with_tlv


def _control_lines() -> tuple[bytes, ...]:
    hello = TunnelHello("0.1.0", mux_input.NAME, mux_input.NAME).encode()
    return hello, DrainNotice("shutting_down").encode() + hello, b'{"weather":"fine"}\n' * 3


TARGETS: Final = {
    target.name: target
    for target in (
        *(
            Target(
                f"mux-{name}",
                tuple(mux_input.seeds(client=client)),
                mux_input.mutated,
                partial(mux_input.run, client=client),
            )
            for name, client in (("server", False), ("client", True))
        ),
        Target("preface", _prefaces(), _havoc, _run_preface),
        Target("control", _control_lines(), _json_havoc, _run_control),
        *(
            Target(
                f"codec-{name}",
                _golden(f"from_{name}") + _golden(f"refused_from_{name}"),
                _json_havoc,
                partial(_run_codec, read),
            )
            for name, read in (("sidecar", decode_from_sidecar), ("directory", decode_from_directory))
        ),
    )
}
