"""The mux without a network: two of them, back to back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handfast_sidecar.errors import BadFrame
from handfast_sidecar.tunnel.frames import HEADER_BYTES, INITIAL_WINDOW, Flag, Frame, FrameType, GoAway
from handfast_sidecar.tunnel.mux import Mux
from handfast_sidecar.tunnel.stream import BULK_WINDOW, Stream


class Recorder:
    """A sink that remembers, and credits what it is told to."""

    def __init__(self, stream: Stream, *, reads: bool = True) -> None:
        self.stream = stream
        self.received = bytearray()
        self.events: list[str] = []
        self.reads = reads

    def data(self, view: memoryview) -> None:
        self.received += view
        if self.reads:
            self.stream.credit(len(view), keeps_up=True)

    def end(self) -> None:
        self.events.append("end")

    def aborted(self) -> None:
        self.events.append("aborted")

    def resume(self) -> None:
        self.events.append("resume")


class Pair:
    """A client's and a server's mux, and what travels between them."""

    def __init__(self, *, server_reads: bool = True) -> None:
        self.accepted: list[Recorder] = []
        self.server_reads = server_reads
        self.client = Mux(client=True, accept=lambda _stream: None, wake=lambda: None, flush=lambda: None)
        self.server = Mux(client=False, accept=self._accept, wake=lambda: None, flush=lambda: None)

    def _accept(self, stream: Stream) -> Recorder:
        self.accepted.append(Recorder(stream, reads=self.server_reads))
        return self.accepted[-1]

    def open(self, first: bytes = b"") -> Recorder:
        stream = self.client.open(first, Recorder)
        self.exchange()
        assert isinstance(stream.sink, Recorder)
        return stream.sink

    def exchange(self, step: int = 1 << 20) -> None:
        """Carry bytes both ways, `step` at a time, until both are silent."""
        while moved := [_carry(self.client, self.server, step), _carry(self.server, self.client, step)]:
            if not any(moved):
                return

    def send(self, sender: Recorder, data: bytes) -> int:
        """As much as windows and arena let through without the other side's answer."""
        sent = 0
        while sent < len(data):
            view = sender.stream.reserve()
            if view is None:
                break
            count = min(len(view), len(data) - sent)
            view[:count] = data[sent : sent + count]
            sender.stream.commit(count)
            sent += count
            self.exchange()
        return sent


def _carry(source: Mux, target: Mux, step: int) -> bool:
    arena, moved = source.arena, False
    while arena.filled:
        end = min(arena.filled, arena.sent + step)
        chunk = bytes(arena.view[arena.sent : end])
        arena.consumed(len(chunk))
        target.receive(memoryview(chunk))
        moved = True
    source.drained()
    return moved


def test_a_stream_carries_bytes_both_ways() -> None:
    pair = Pair()
    client = pair.open(b"hello")
    (server,) = pair.accepted
    pair.send(server, b"world")
    assert (bytes(server.received), bytes(client.received)) == (b"hello", b"world")


def test_bytes_that_arrive_one_at_a_time_are_the_same_bytes() -> None:
    pair = Pair()
    client = pair.open(b"abc")
    pair.client.ping(7)
    view = client.stream.reserve()
    assert view is not None
    view[:3] = b"def"
    client.stream.commit(3)
    pair.exchange(step=1)
    assert pair.accepted[0].received == b"abcdef"
    assert pair.client.pongs == 1


def test_a_half_closed_stream_still_carries_the_other_direction() -> None:
    pair = Pair()
    client = pair.open(b"x")
    client.stream.finish()
    pair.exchange()
    (server,) = pair.accepted
    assert server.events == ["end"]
    pair.send(server, b"answer")
    server.stream.finish()
    pair.exchange()
    assert (bytes(client.received), client.events) == (b"answer", ["end"])
    assert not pair.client.streams
    assert not pair.server.streams


def test_an_abort_ends_both_sides_at_once() -> None:
    pair = Pair()
    client = pair.open(b"x")
    client.stream.reset()
    pair.exchange()
    assert pair.accepted[0].events == ["aborted"]
    assert not pair.server.streams


def test_a_reader_that_does_not_read_holds_back_his_own_stream_alone() -> None:
    pair = Pair(server_reads=False)
    slow = pair.open()
    assert pair.send(slow, bytes(2 * INITIAL_WINDOW)) == INITIAL_WINDOW
    pair.server_reads = True
    fast = pair.open()
    assert pair.send(fast, bytes(2 * INITIAL_WINDOW)) == 2 * INITIAL_WINDOW


def test_a_held_back_stream_resumes_with_the_readers_credit() -> None:
    pair = Pair(server_reads=False)
    client = pair.open()
    pair.send(client, bytes(INITIAL_WINDOW))
    pair.accepted[0].stream.credit(INITIAL_WINDOW, keeps_up=False)
    pair.exchange()
    assert client.events == ["resume"]
    assert pair.send(client, b"more") == 4


def test_the_window_of_a_fast_reader_grows_to_its_bound() -> None:
    pair = Pair()
    client = pair.open()
    pair.send(client, bytes(16 << 20))
    assert pair.accepted[0].stream.window == BULK_WINDOW


def test_a_peer_that_sends_past_its_window_breaks_the_protocol() -> None:
    pair = Pair(server_reads=False)
    pair.open()
    frame = Frame(FrameType.DATA, Flag(0), 1, INITIAL_WINDOW + 1).pack()
    with pytest.raises(BadFrame, match="more than its window"):
        pair.server.receive(memoryview(frame))


def test_a_stream_id_of_the_wrong_side_breaks_the_protocol() -> None:
    with pytest.raises(BadFrame, match="ours or in use"):
        Pair().server.receive(memoryview(Frame(FrameType.DATA, Flag.SYN, 2, 0).pack()))


def test_data_for_a_stream_that_was_closed_meanwhile_is_read_past() -> None:
    pair = Pair()
    late = Frame(FrameType.DATA, Flag(0), 41, 5).pack() + b"12345" + Frame(FrameType.PING, Flag.SYN, 0, 9).pack()
    pair.server.receive(memoryview(late))
    assert bytes(pair.server.arena.view[:HEADER_BYTES]) == Frame(FrameType.PING, Flag.ACK, 0, 9).pack()


def test_a_peer_that_asks_without_reading_the_answers_loses_its_tunnel() -> None:
    pair = Pair()
    pings = memoryview(Frame(FrameType.PING, Flag.SYN, 0, 1).pack() * 200_000)
    with pytest.raises(BadFrame, match="does not read"):
        pair.server.receive(pings)


def test_a_go_away_is_remembered_and_an_error_ends_the_tunnel() -> None:
    pair = Pair()
    pair.client.go_away(GoAway.NORMAL)
    pair.exchange()
    assert pair.server.peer_going_away
    pair.client.go_away(GoAway.PROTOCOL_ERROR)
    with pytest.raises(BadFrame, match="error 1"):
        pair.exchange()


@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_but_bad_frame(data: bytes) -> None:
    pair = Pair()
    pair.open(b"x")
    try:
        pair.server.receive(memoryview(data))
    except BadFrame:
        return


_FRAMES = st.builds(
    Frame, st.sampled_from(FrameType), st.builds(Flag, st.integers(0, 15)), st.integers(0, 6), st.integers(0, 70)
)


@settings(max_examples=300)
@given(st.lists(st.tuples(_FRAMES, st.binary(max_size=70)), max_size=20), st.integers(1, 200))
def test_any_sequence_of_frames_raises_nothing_but_bad_frame_and_keeps_the_table_true(
    frames: list[tuple[Frame, bytes]], step: int
) -> None:
    pair = Pair()
    data = b"".join(frame.pack() + payload for frame, payload in frames)
    try:
        for start in range(0, len(data), step):
            pair.server.receive(memoryview(data[start : start + step]))
    except BadFrame:
        pass
    assert all(number == stream.id for number, stream in pair.server.streams.items())
    assert all(stream.recv_window >= 0 for stream in pair.server.streams.values())
