"""The control stream's sink: bytes to lines, lines to their meaning."""

from collections.abc import Callable

from handfast_sidecar.tunnel.hello import ControlLine, LineReader, decode
from handfast_sidecar.tunnel.stream import Stream


class ControlSink:
    """Hands each understood line on; a line that is none of ours ends the tunnel by BadFrame."""

    def __init__(self, stream: Stream, said: Callable[[ControlLine], None]) -> None:
        self._stream = stream
        self._said = said
        self._lines = LineReader()

    def data(self, view: memoryview) -> None:
        self._stream.credit(len(view), keeps_up=False)
        for text in self._lines.feed(bytes(view)):
            line = decode(text)
            if line is not None:
                self._said(line)

    def end(self) -> None:
        """The peer has nothing more to say; the tunnel's end is the socket's."""

    def aborted(self) -> None:
        """As `end`."""

    def resume(self) -> None:
        """Control lines are short and never wait."""
