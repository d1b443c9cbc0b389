"""What a mux has to send, without a socket: the one place in the tests that knows how its arena is emptied."""

from typing import Final

from handfast_sidecar.tunnel.arena import ARENA_BYTES, MAX_OVERFLOW
from handfast_sidecar.tunnel.mux import Mux

BOUND: Final = ARENA_BYTES + MAX_OVERFLOW
"""Bytes that may wait at most, whatever the peer does."""


def taken(mux: Mux, limit: int | None = None) -> bytes:
    """Up to `limit` bytes, taken off the mux as `tunnel.carrier._write_out` does; the caller says `drained`."""
    arena, out = mux.arena, bytearray()
    mux.woken = False
    while arena.filled and (limit is None or len(out) < limit):
        end = arena.filled if limit is None else min(arena.filled, arena.sent + limit - len(out))
        chunk = bytes(arena.view[arena.sent : end])
        arena.consumed(len(chunk))
        out += chunk
    return bytes(out)


def waiting(mux: Mux) -> int:
    """Bytes that wait to be sent."""
    return mux.arena.filled - mux.arena.sent + len(mux.arena.overflow)
