"""The mux under a fuzzer: an input is a plan of 16 bytes and what the peer sends.

plan[0]   sizes of the pieces in which the bytes come
plan[1]   how often they are repeated, so that a flood needs no long input
plan[2]   what our sinks do with what they get
plan[3:]  what our side does between two pieces, in turn
"""

from random import Random
from typing import Final

from handfast_sidecar.errors import BadFrame
from handfast_sidecar.tunnel.control import ControlSink
from handfast_sidecar.tunnel.frames import HEADER, HEADER_BYTES, INITIAL_WINDOW, Flag, Frame, FrameType, GoAway
from handfast_sidecar.tunnel.hello import DrainNotice, TunnelHello
from handfast_sidecar.tunnel.mux import GROWTH_BUDGET, MAX_STREAMS, Mux
from handfast_sidecar.tunnel.preface import Preface
from handfast_sidecar.tunnel.stream import BULK_WINDOW, Stream, StreamSink
from support.outgoing import BOUND, taken, waiting

PLAN_BYTES: Final = 16
MAX_INPUT: Final = 1 << 16
MAX_FLOOD: Final = 3 << 19
"""Bytes of a repeated input: more than may wait for a peer that does not read."""
PIECES: Final = (MAX_FLOOD, 1, 5, 11, 12, 13, 25, 100, 1000, 4096, 65536)
MAX_TURNS: Final = 100
"""Pieces of that size; the rest comes at once, so that an input of single bytes costs no second."""
ONCE: Final = 232
"""plan[1] up to here: the bytes come once; 233 twice, 234 four times, and so on."""
NONE: Final = Flag(0)
NAME: Final = "A" * 43 + "="
"""Of a tunnel: a random one would make each run of the fuzzer another one."""
STREAMS: Final = (0, 1, 2, 3, 5, 7, 9, 11, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
LENGTHS: Final = (0, 1, 2, 11, 12, 70, 4096, 65536, INITIAL_WINDOW, INITIAL_WINDOW + 1, BULK_WINDOW, (1 << 32) - 1)


class FuzzedSink:
    """Keeps what it gets, hands it on at once, answers and half-closes, or aborts: as its manner says."""

    def __init__(self, stream: Stream, manner: int) -> None:
        self.stream, self.manner = stream, manner % 5
        self.held = 0
        self.over = self.ended = False

    def data(self, view: memoryview) -> None:
        assert not self.ended, "data after the end"
        assert not self.over, "data after an abort"
        self.held += len(view)
        if self.manner == 0:
            self.hand_on(keeps_up=True)
        elif self.manner == 1 and not self.stream.finished:
            self.stream.send(b"\x01", Flag.ACK)
            self.stream.finish()
        elif self.manner == 2:
            self.over = True
            self.stream.reset()

    def end(self) -> None:
        assert not self.ended, "a second end"
        assert not self.over, "an end after an abort"
        self.ended = True
        if self.manner == 0:
            self.stream.finish()

    def aborted(self) -> None:
        assert not self.over, "aborted twice"
        self.over = True

    def resume(self) -> None:
        assert not self.over, "resumed after its end"
        if self.manner == 3:
            self.write()

    def hand_on(self, *, keeps_up: bool) -> None:
        held, self.held = self.held, 0
        self.stream.credit(held, keeps_up=keeps_up)

    def write(self) -> None:
        view = None if self.stream.finished else self.stream.reserve()
        if view is not None:
            self.stream.commit(len(view))


class FuzzedSide:
    """One mux with streams 1 to 7, the first of them for control, its sinks, and what must always hold of them."""

    def __init__(self, plan: bytes, *, client: bool) -> None:
        self.manner = plan[2]
        self.sinks: list[FuzzedSink] = []
        self.taken = 0
        self.mux = Mux(client=client, accept=self.accept, wake=lambda: None, flush=self.flush)
        if client:
            self.mux.open(b"{}\n", lambda stream: ControlSink(stream, lambda _line: None))
            for _ in range(3):
                self.mux.open(b"x", self.sink)
        else:
            for number in (1, 3, 5, 7):
                self.mux.receive(memoryview(_data(number, b"", Flag.SYN)))

    def accept(self, stream: Stream) -> StreamSink | None:
        if stream.id == 1:
            return ControlSink(stream, lambda _line: stream.send(b"{}\n", Flag.ACK))
        return None if stream.id % 16 == 15 else self.sink(stream)

    def sink(self, stream: Stream) -> FuzzedSink:
        self.sinks.append(FuzzedSink(stream, self.manner + stream.id // 2))
        return self.sinks[-1]

    def flush(self) -> None:
        if self.manner & 64:
            taken(self.mux, 1000)

    def act(self, action: int) -> None:
        """Something that our applications or the shell do between two reads."""
        live = [sink for sink in self.sinks if not sink.over and sink.stream.id in self.mux.streams]
        sink = live[action // 16 % len(live)] if live else None
        match action % 16:
            case 1 | 2 | 3:
                taken(self.mux)
                self.mux.drained()
            case 4:
                taken(self.mux, action)
            case 5:
                self.mux.ping(action)
            case 6:
                self.mux.go_away(GoAway.NORMAL)
            case 7 if sink is not None:
                sink.write()
            case 8 if sink is not None:
                sink.stream.finish()
            case 9 if sink is not None:
                sink.over = True
                sink.stream.reset()
            case 10 | 11 if sink is not None:
                sink.hand_on(keeps_up=action >= 128)
            case 12 if self.sinks:
                # An application whose end we learn of after the stream's.
                late = self.sinks[action // 16 % len(self.sinks)]
                late.over = True
                late.stream.reset()
            case _:
                pass

    def check(self) -> None:
        """What must hold whatever the peer sent."""
        mux = self.mux
        assert waiting(mux) <= BOUND, f"{waiting(mux)} bytes wait"
        assert len(mux._carry) < HEADER_BYTES
        assert len(mux.streams) <= MAX_STREAMS
        grown = 0
        for number, stream in mux.streams.items():
            assert number == stream.id
            assert 0 <= stream.recv_window <= stream.window <= BULK_WINDOW, f"stream {number}: {stream.recv_window}"
            grown += stream.window - INITIAL_WINDOW
        assert mux.growth_left == GROWTH_BUDGET - grown, "the budget of windows is not what the windows say"
        for sink in self.sinks:
            assert sink.held <= sink.stream.window, f"stream {sink.stream.id} made us hold {sink.held} bytes"


def run(data: bytes, *, client: bool) -> None:
    """Give the mux an input as the shell would; only BadFrame may end it."""
    plan, wire = data[:PLAN_BYTES].ljust(PLAN_BYTES, b"\0"), data[PLAN_BYTES:]
    wire *= min(1 << max(0, plan[1] - ONCE), 1 + MAX_FLOOD // (len(wire) or 1))
    side, view, size = FuzzedSide(plan, client=client), memoryview(wire), PIECES[plan[0] % len(PIECES)]
    try:
        start = 0
        for turn in range(MAX_TURNS + 1):
            end = start + size if turn < MAX_TURNS else len(wire)
            side.mux.receive(view[start:end])
            side.act(plan[3 + turn % 13])
            side.check()
            start = end
            if start >= len(wire):
                break
    except BadFrame:
        assert waiting(side.mux) <= BOUND
    side.mux.abort_all()
    assert not side.mux.streams


def mutated(random: Random, data: bytes, other: bytes) -> bytes:
    """A conversation somewhat different from `data`, perhaps with frames of `other`."""
    plan, frames = bytearray(data[:PLAN_BYTES].ljust(PLAN_BYTES, b"\0")), _frames(data[PLAN_BYTES:])
    for _ in range(random.choice((0, 0, 1, 1, 3))):
        plan[random.choice((0, 1, 2, *range(3, PLAN_BYTES)))] = random.randrange(256)
    if plan[1] > ONCE and random.random() < 0.9:
        plan[1] = 0  # a flood costs as much time as a thousand other inputs
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        at = random.randrange(len(frames) + 1)
        match random.randrange(9) if at < len(frames) else 8:
            case 0:
                del frames[at]
            case 1:
                frames.insert(at, random.choice(frames))
            case 2:
                frames[at] *= random.choice((2, 3, 17))
            case 3:
                borrowed = _frames(other[PLAN_BYTES:])
                frames[at : at + random.randrange(5)] = random.sample(borrowed, min(3, len(borrowed)))
            case 4 | 5:
                frames[at] = _with_a_field_changed(random, frames[at])
            case 6:
                frames[at] = frames[at][: random.randrange(len(frames[at]))]
            case 7:
                broken = bytearray(frames[at])
                broken[random.randrange(len(broken))] ^= 1 << random.randrange(8)
                frames[at] = bytes(broken)
            case _:
                frames.insert(at, _new(random))
        frames = [frame for frame in frames if frame]
    return bytes(plan) + b"".join(frames)[: MAX_INPUT - PLAN_BYTES]


def _frames(wire: bytes) -> list[bytes]:
    frames, at = [], 0
    while at < len(wire):
        end = at + HEADER_BYTES
        if end <= len(wire) and wire[at + 1] == FrameType.DATA:
            end += HEADER.unpack_from(wire, at)[4]
        frames.append(wire[at:end])
        at = end
    return frames


def _with_a_field_changed(random: Random, frame: bytes) -> bytes:
    if len(frame) < HEADER_BYTES:
        return frame
    fields = list(HEADER.unpack_from(frame))
    match random.randrange(10):
        case 0:
            fields[0] = random.randrange(256)
        case 1 | 2:
            fields[1] = random.randrange(5)
        case 3 | 4 | 5:
            fields[2] ^= 1 << random.choice((0, 1, 2, 2, 3, 3, 4, 15))
        case 6 | 7:
            fields[3] = random.choice(STREAMS)
        case _:
            fields[4] = random.choice(LENGTHS)
    return HEADER.pack(*fields) + frame[HEADER_BYTES:]


def _new(random: Random) -> bytes:
    flags = Flag(random.choice((0, 0, 1, 2, 4, 4, 8, random.randrange(16))))
    kind, stream = random.choice(list(FrameType)), random.choice(STREAMS)
    if kind is not FrameType.DATA:
        return Frame(kind, flags, stream, random.choice(LENGTHS)).pack()
    payload = random.choice((b"", b"{}\n", b"x" * 70, random.randbytes(random.randrange(200)), bytes(5000)))
    return Frame(kind, flags, stream, len(payload)).pack() + payload


def seeds(*, client: bool) -> list[bytes]:
    """What honest peers send, ours and HashiCorp's, and a flood."""
    answer, opening = (Flag.ACK, Flag.ACK) if client else (NONE, Flag.SYN)
    hello, preface = TunnelHello("0.1.0", NAME).encode(), Preface("10.0.0.1", 1, "10.0.0.2", 80).pack()
    ours = (
        _data(1, hello, answer),
        *(_data(number, preface, answer) for number in (3, 5, 7)),
        _data(9, preface, opening),
        _data(3, bytes(70)),
        _data(5, bytes(5000)),
        Frame(FrameType.WINDOW_UPDATE, Flag(0), 3, INITIAL_WINDOW // 2).pack(),
        Frame(FrameType.PING, Flag.SYN, 0, 7).pack(),
        _data(3, b"", Flag.FIN),
        _data(5, b"with its last bytes", Flag.FIN),
        _data(1, DrainNotice("shutting_down").encode()),
        Frame(FrameType.GO_AWAY, Flag(0), 0, GoAway.NORMAL).pack(),
    )
    theirs = (
        *(Frame(FrameType.WINDOW_UPDATE, answer, number, 0).pack() for number in (1, 3, 5)),
        Frame(FrameType.WINDOW_UPDATE, opening, 9, BULK_WINDOW).pack(),
        _data(3, preface),
        Frame(FrameType.PING, Flag.ACK, 0, 7).pack(),
        Frame(FrameType.WINDOW_UPDATE, Flag.FIN, 3, 0).pack(),
        Frame(FrameType.WINDOW_UPDATE, Flag.RST, 5, 0).pack(),
    )
    reads, writes = bytes([0, 0, 0, 1, 10, 1]), bytes([6, 0, 3, 7, 1, 7, 8, 11])
    bulk = b"".join(_data(number, bytes(8_000)) for number in (3, 5, 3))
    return [
        reads.ljust(PLAN_BYTES, b"\1") + b"".join(ours),
        writes.ljust(PLAN_BYTES, b"\7") + b"".join(theirs),
        writes.ljust(PLAN_BYTES, b"\1") + b"".join(ours[:4]) + bulk,
        bytes([10, ONCE + 8, 4]).ljust(PLAN_BYTES, b"\1") + bulk,
        bytes([0, ONCE + 17]).ljust(PLAN_BYTES, b"\0") + Frame(FrameType.PING, Flag.SYN, 0, 1).pack(),
    ]


def _data(stream: int, payload: bytes, flags: Flag = NONE) -> bytes:
    return Frame(FrameType.DATA, flags, stream, len(payload)).pack() + payload
