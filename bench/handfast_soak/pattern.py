"""What flows over a connection: bytes that both ends can tell from its number, its direction and the offset. Pure.

A byte that is lost, doubled, swapped or of another connection differs from what is expected at its offset, so each end
checks alone, at once, and remembers nothing but the offset.
"""

from random import Random
from typing import Final

POOL_BYTES: Final = 1_048_573
"""A prime: no chunk, window or buffer divides it, so that what is shifted by one of them never looks right."""
_POOL: Final = Random(20_240_229).randbytes(POOL_BYTES)  # noqa: S311 - both ends must know it
MAX_PIECE: Final = 256 * 1024
_LAP: Final = _POOL + _POOL[:MAX_PIECE]
_STRIDE: Final = 611_953


class WrongBytes(Exception):
    """What arrived is not what was sent; the message says where."""


class Pattern:
    """One direction of one connection, read from the beginning to the end."""

    __slots__ = ("_start", "offset")

    def __init__(self, number: int, *, downwards: bool) -> None:
        self._start = (2 * number + downwards) * _STRIDE % POOL_BYTES
        self.offset = 0

    def take(self, count: int) -> bytes:
        """The next bytes, at most MAX_PIECE."""
        begin = (self._start + self.offset) % POOL_BYTES
        self.offset += count
        return _LAP[begin : begin + count]

    def check(self, received: bytes) -> None:
        """Go on by what arrived. Raises WrongBytes."""
        before = self.offset
        expected = self.take(len(received))
        if received == expected:
            return
        at = next(i for i, (one, other) in enumerate(zip(received, expected, strict=True)) if one != other)
        raise WrongBytes(f"at offset {before + at}: {_place(received[at : at + 32], self._start)}")


def _place(received: bytes, start: int) -> str:
    """Where in its own stream the wrong bytes would have been right: tells a shift from a mix-up."""
    found = _LAP.find(received)
    if found < 0:
        return f"bytes of no connection: {received.hex()}"
    return f"bytes that belong at {(found - start) % POOL_BYTES} (modulo {POOL_BYTES}), or to another connection"
