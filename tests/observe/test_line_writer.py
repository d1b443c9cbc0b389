"""Lines of one turn in one call, and none later than the work it was written beside."""

import io
from collections.abc import Callable

import pytest

from handfast_sidecar.observe.line_writer import LineWriter


class Stream(io.StringIO):
    """Keeps the calls apart, as the kernel would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.flushed = 0

    def write(self, text: str) -> int:
        self.calls.append(text)
        return super().write(text)

    def flush(self) -> None:
        self.flushed = len(self.calls)


def test_a_line_is_written_at_once_where_no_loop_runs() -> None:
    stream = Stream()
    lines = LineWriter(stream)
    lines.put("first")
    lines.put("second")
    assert stream.calls == ["first\n", "second\n"]
    assert stream.flushed == 2


def test_the_lines_of_a_turn_leave_in_one_call() -> None:
    stream, ends = Stream(), list[Callable[[], None]]()
    lines = LineWriter(stream)
    lines.at_end = ends.append
    lines.put("first")
    lines.put("second")
    assert stream.calls == []
    [end] = ends
    end()
    assert stream.calls == ["first\nsecond\n"]
    assert stream.flushed == 1


def test_the_next_turn_has_an_end_of_its_own() -> None:
    stream, ends = Stream(), list[Callable[[], None]]()
    lines = LineWriter(stream)
    lines.at_end = ends.append
    for text in ("first", "second"):
        lines.put(text)
        ends.pop()()
    assert stream.calls == ["first\n", "second\n"]


def test_a_line_that_must_not_wait_comes_after_those_that_do() -> None:
    stream, ends = Stream(), list[Callable[[], None]]()
    lines = LineWriter(stream)
    lines.at_end = ends.append
    lines.put("first")
    lines.write("second")
    assert stream.calls == ["first\nsecond\n"]
    ends.pop()()
    assert stream.calls == ["first\nsecond\n"], "nothing is left for the end of the turn"


def test_what_waits_still_goes_to_the_stream_it_was_put_to() -> None:
    before, after = Stream(), Stream()
    lines = LineWriter(before)
    lines.at_end = lambda _flush: None
    lines.put("first")
    lines.redirect(after)
    lines.write("second")
    assert (before.calls, after.calls) == (["first\n"], ["second\n"])


def test_without_a_stream_it_is_standard_error_of_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, stream = LineWriter(), Stream()
    monkeypatch.setattr("sys.stderr", stream)
    lines.put("first")
    assert stream.calls == ["first\n"]
