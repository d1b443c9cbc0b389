"""What holds of two muxes, whatever their applications do and wherever the network cuts their bytes.

Bytes of a stream are those of one long pattern, so that a sink knows at every moment which byte must come next.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from handfast_sidecar.tunnel.frames import INITIAL_WINDOW, GoAway
from handfast_sidecar.tunnel.mux import GROWTH_BUDGET, Mux
from handfast_sidecar.tunnel.stream import BULK_WINDOW, Stream
from support.outgoing import BOUND, taken, waiting

pytestmark = pytest.mark.timeout(300)
"""To make a failing example small takes longer than to find it."""
PATTERN: Final = bytes(at * 31 >> 3 & 255 for at in range(65521)) * 70
"""4.5 MB with a prime period: more than any stream of these tests carries."""


class End:
    """One end of a stream: knows what must come, and keeps what it may not hand on yet."""

    def __init__(self, mux: Mux, stream: Stream) -> None:
        self.mux, self.stream = mux, stream
        self.other: End
        self.slow = False
        self.sent = self.received = self.held = 0
        self.ended = self.aborted_by_peer = self.reset = False

    @property
    def over(self) -> bool:
        return self.reset or self.aborted_by_peer

    @property
    def complete(self) -> bool:
        return self.ended and self.stream.finished

    def data(self, view: memoryview) -> None:
        assert not self.over
        assert not self.ended
        assert view == PATTERN[self.received : self.received + len(view)]
        self.received += len(view)
        self.held += len(view)
        if not self.slow:
            self.credit(self.held, keeps_up=True)

    def end(self) -> None:
        assert not self.over
        assert not self.ended
        assert self.received == self.other.sent
        self.ended = True

    def aborted(self) -> None:
        assert not self.over
        assert not self.complete
        self.aborted_by_peer = True

    def resume(self) -> None:
        assert not self.over

    def credit(self, count: int, *, keeps_up: bool) -> None:
        self.held -= count
        self.stream.credit(count, keeps_up=keeps_up)

    def send(self, count: int, piece: int) -> None:
        """Up to `count` bytes, while there is room."""
        while count and not self.stream.finished and not self.over:
            view = self.stream.reserve()
            if view is None:
                return
            size = min(len(view), count, piece)
            view[:size] = PATTERN[self.sent : self.sent + size]
            self.stream.commit(size)
            self.sent += size
            count -= size


class Side:
    """A mux, and the bytes on their way to it."""

    def __init__(self, name: str, accepted: Callable[[Stream], End | None]) -> None:
        self.name = name
        self.coming = bytearray()
        self.pings = 0
        self.going_away = False
        self.mux = Mux(client=name == "client", accept=accepted, wake=lambda: None, flush=lambda: None)


class TwoMuxes(RuleBasedStateMachine):
    """Applications on both sides do as they like, and the network cuts the bytes where it likes."""

    ends: Bundle[End] = Bundle("ends")

    def __init__(self) -> None:
        super().__init__()
        self.sides = {name: Side(name, partial(self.accept, name)) for name in _OTHER}
        self.all: list[End] = []
        self.opened: dict[int, End] = {}

    def accept(self, name: str, stream: Stream) -> End:
        end = End(self.sides[name].mux, stream)
        end.other = self.opened[stream.id]
        end.other.other = end
        self.all.append(end)
        return end

    @rule(target=ends, name=st.sampled_from(("client", "server")), first=st.integers(0, 40), slow=st.booleans())
    def begin_another(self, name: str, first: int, slow: bool) -> MultipleResults[End]:
        return self.open(name, first, slow)

    def open(self, name: str, first: int, slow: bool) -> MultipleResults[End]:
        """Both ends: the frame that opens it is carried at once, later ones when the network likes."""
        mux = self.sides[name].mux
        end = mux.open(PATTERN[:first], lambda stream: End(mux, stream)).sink
        assert isinstance(end, End)
        end.sent = first
        self.opened[end.stream.id] = end
        self.all.append(end)
        self.carry_all()
        end.slow = end.other.slow = slow
        return multiple(end, end.other)

    @initialize(target=ends, name=st.sampled_from(("client", "server")), slow=st.booleans())
    def begin(self, name: str, slow: bool) -> MultipleResults[End]:
        return self.open(name, 28, slow)

    @rule(
        end=ends,
        count=st.sampled_from((1, 70, 5_000, 140_000, 300_000, 600_000)),
        piece=st.sampled_from((1 << 20, 70_000, 5_000, 401)),
    )
    def send(self, end: End, count: int, piece: int) -> None:
        end.send(min(count, piece * 200, len(PATTERN) - end.sent), piece)

    @rule(end=ends, part=st.floats(0, 1), keeps_up=st.booleans())
    def hand_on(self, end: End, part: float, keeps_up: bool) -> None:
        if not end.over:
            end.credit(int(end.held * part), keeps_up=keeps_up)

    @rule(end=ends)
    def read_faster(self, end: End) -> None:
        end.slow = False

    @rule(end=ends)
    def finish(self, end: End) -> None:
        if not end.over:
            end.stream.finish()

    @rule(end=consumes(ends))
    def abort(self, end: End) -> None:
        end.reset = end.reset or not (end.complete or end.over)
        end.stream.reset()

    @rule(name=st.sampled_from(("client", "server")), value=st.integers(0, 2**32 - 1))
    def ping(self, name: str, value: int) -> None:
        self.sides[name].mux.ping(value)
        self.sides[name].pings += 1

    @rule(name=st.sampled_from(("client", "server")))
    def go_away(self, name: str) -> None:
        self.sides[name].mux.go_away(GoAway.NORMAL)
        self.sides[name].going_away = True

    @rule(name=st.sampled_from(("client", "server")), count=st.integers(1, 400_000))
    def leave(self, name: str, count: int) -> None:
        """The network takes some bytes from a side."""
        mux = self.sides[name].mux
        self.sides[_OTHER[name]].coming += taken(mux, count)
        if not waiting(mux):
            mux.drained()

    @rule(name=st.sampled_from(("client", "server")), count=st.one_of(st.integers(1, 30), st.integers(1, 400_000)))
    def arrive(self, name: str, count: int) -> None:
        """The network brings some bytes to a side."""
        side = self.sides[name]
        chunk = bytes(side.coming[:count])
        del side.coming[:count]
        side.mux.receive(memoryview(chunk))

    @invariant()
    def memory_is_bounded_by_the_windows(self) -> None:
        for end in self.all:
            assert 0 <= end.stream.recv_window <= end.stream.window <= BULK_WINDOW
            assert end.stream.send_window >= 0
            assert end.held + end.stream.recv_window <= end.stream.window
        for side in self.sides.values():
            assert waiting(side.mux) <= BOUND
            grown = sum(stream.window - INITIAL_WINDOW for stream in side.mux.streams.values())
            assert side.mux.growth_left == GROWTH_BUDGET - grown

    def carry_all(self) -> None:
        """Until nothing is on its way."""
        silent = False
        while not silent:
            silent = True
            for name, other in _OTHER.items():
                self.leave(name, 1 << 21)
                silent = silent and not self.sides[other].coming
                self.arrive(other, 1 << 21)

    def teardown(self) -> None:
        """Everybody reads on, and says all he has to say: then both sides know the same."""
        self.carry_all()
        for end in self.all:
            if end.stream.id in end.mux.streams and end.stream.id in end.other.mux.streams:
                assert end.other.stream.recv_window == end.stream.send_window
        for end in self.all:
            end.slow = False
            if not end.over:
                end.credit(end.held, keeps_up=False)
        self.carry_all()
        for end in self.all:
            if not end.over:
                end.stream.finish()
        self.carry_all()
        for end in self.all:
            assert end.complete or end.over
            assert end.received == end.other.sent if end.ended else end.received <= end.other.sent
            if end.reset:
                assert end.other.over or end.other.complete
            if end.aborted_by_peer:
                assert end.other.reset
        for name, side in self.sides.items():
            assert not side.mux.streams
            assert side.mux.growth_left == GROWTH_BUDGET
            assert side.mux.pongs == side.pings
            assert self.sides[_OTHER[name]].mux.peer_going_away == side.going_away


_OTHER: Final = {"client": "server", "server": "client"}
TwoMuxes.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_two_muxes_tell_each_other_what_their_applications_said = TwoMuxes.TestCase
