"""What a mux makes of any bytes at all: it takes them or raises BadFrame, wherever they are cut."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handfast_sidecar.errors import BadFrame
from handfast_sidecar.tunnel.frames import HEADER_BYTES, INITIAL_WINDOW, Flag, Frame, FrameType
from handfast_sidecar.tunnel.mux import Mux
from handfast_sidecar.tunnel.stream import Stream
from support.outgoing import taken

pytestmark = pytest.mark.timeout(300)
"""To make a failing example small takes longer than to find it."""
_FLAGS = st.one_of(st.just(Flag(0)), st.sampled_from(Flag), st.builds(Flag, st.integers(0, 15)))
_FRAMES = st.one_of(
    st.builds(
        lambda flags, stream, payload: Frame(FrameType.DATA, flags, stream, len(payload)).pack() + payload,
        _FLAGS,
        st.integers(0, 7),
        st.one_of(st.binary(max_size=80), st.integers(0, 90_000).map(bytes)),
    ),
    st.builds(
        lambda kind, flags, stream, length: Frame(kind, flags, stream, length).pack(),
        st.sampled_from(FrameType),
        _FLAGS,
        st.integers(0, 7),
        st.one_of(st.integers(0, 90), st.sampled_from((INITIAL_WINDOW, INITIAL_WINDOW + 1, 1 << 31, (1 << 32) - 1))),
    ),
)
_CONVERSATIONS = st.lists(_FRAMES, max_size=25).map(b"".join)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(_CONVERSATIONS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


class Told:
    """A sink that writes down what it is told, and may answer, half-close or abort at the first bytes."""

    def __init__(self, story: list[tuple[int, str]], stream: Stream, answer: str) -> None:
        self.story, self.stream, self.answer = story, stream, answer
        self.received = bytearray()

    def data(self, view: memoryview) -> None:
        if not self.received and self.answer == "finish":
            self.stream.finish()
        elif not self.received and self.answer == "reset":
            self.stream.reset()
            return
        self.received += view

    def end(self) -> None:
        self.story.append((self.stream.id, "end"))

    def aborted(self) -> None:
        self.story.append((self.stream.id, "aborted"))

    def resume(self) -> None:
        self.story.append((self.stream.id, "resume"))


@dataclass
class Outcome:
    """All that can be known of a mux: what it told its sinks and its peer, what it knows, and why it ended."""

    story: list[tuple[int, str]]
    received: list[tuple[int, bytes]]
    streams: dict[int, tuple[int, bool, bool]]
    session: tuple[int, bool]
    said: bytes
    refused: str


def outcome(data: bytes, *, client: bool, answer: str, cuts: list[int]) -> Outcome:
    """Of a mux that was given these bytes in pieces, and took them or refused them by BadFrame."""
    story: list[tuple[int, str]] = []
    sinks: list[Told] = []

    def sink_of(stream: Stream) -> Told:
        sinks.append(Told(story, stream, answer))
        return sinks[-1]

    mux = Mux(client=client, accept=sink_of, wake=lambda: None, flush=lambda: None)
    if client:
        for _ in range(3):
            mux.open(b"", sink_of)
    places, refused = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)], ""
    try:
        for start, end in pairwise(places):
            mux.receive(memoryview(data)[start:end])
    except BadFrame as error:
        refused = str(error)
    return Outcome(
        story,
        [(sink.stream.id, bytes(sink.received)) for sink in sinks],
        {number: (each.send_window, each.ended, each.finished) for number, each in mux.streams.items()},
        (mux.pongs, mux.peer_going_away),
        taken(mux),
        refused,
    )


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=300), _CONVERSATIONS, _mutated()),
    st.booleans(),
    st.sampled_from(("nothing", "reset", "finish")),
    st.lists(st.integers(0, 1 << 20), max_size=30),
)
def test_any_bytes_are_taken_or_refused_and_it_does_not_matter_where_they_are_cut(
    data: bytes, client: bool, answer: str, cuts: list[int]
) -> None:
    whole = outcome(data, client=client, answer=answer, cuts=[])
    assert outcome(data, client=client, answer=answer, cuts=cuts) == whole
    if len(data) < 400:
        assert outcome(data, client=client, answer=answer, cuts=list(range(len(data)))) == whole


def test_a_last_frame_arrives_whole_though_we_half_close_in_its_middle() -> None:
    opening = Frame(FrameType.WINDOW_UPDATE, Flag.SYN, 1, 0).pack()
    last = Frame(FrameType.DATA, Flag.FIN, 1, 4).pack() + b"last"
    told = outcome(opening + last, client=False, answer="finish", cuts=[len(opening) + HEADER_BYTES + 2])
    assert (told.story, told.received, told.streams) == ([(1, "end")], [(1, b"last")], {})


def test_credit_that_comes_with_a_fin_wakes_the_sender() -> None:
    story: list[tuple[int, str]] = []
    mux = Mux(client=True, accept=lambda _stream: None, wake=lambda: None, flush=lambda: None)
    mux.open(bytes(INITIAL_WINDOW), lambda stream: Told(story, stream, "nothing"))
    mux.receive(memoryview(Frame(FrameType.WINDOW_UPDATE, Flag.ACK | Flag.FIN, 1, 70).pack()))
    assert sorted(story) == [(1, "end"), (1, "resume")]


def test_a_late_abort_of_a_stream_that_is_over_spares_the_next_one_with_its_number() -> None:
    streams: list[Stream] = []
    mux = Mux(client=False, accept=lambda stream: accepted(streams, stream), wake=lambda: None, flush=lambda: None)
    opening, end = (Frame(FrameType.WINDOW_UPDATE, flag, 1, 0).pack() for flag in (Flag.SYN, Flag.FIN))
    mux.receive(memoryview(opening + end))
    streams[0].finish()
    mux.receive(memoryview(opening))
    streams[0].reset()
    assert mux.streams == {1: streams[1]}


def accepted(streams: list[Stream], stream: Stream) -> Told:
    streams.append(stream)
    return Told([], stream, "nothing")
