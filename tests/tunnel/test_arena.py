"""The outgoing bytes of a tunnel: nothing is lost or reordered, and bulk's memory goes back."""

from handfast_sidecar.tunnel.arena import ARENA_BYTES, KEPT_BYTES, MAX_OVERFLOW, Arena

SIZE = 64 * 1024


def fill(arena: Arena, count: int, byte: bytes = b"x") -> None:
    """As an application's bytes are put there: in place."""
    arena.view[arena.filled : arena.filled + count] = byte * count
    arena.filled += count


def drain(arena: Arena, at_once: int) -> bytes:
    """What TLS would have sent, taking at most `at_once` bytes at a time."""
    sent = bytearray()
    while arena.filled:
        taken = bytes(arena.view[arena.sent : arena.filled][:at_once])
        sent += taken
        arena.consumed(len(taken))
    return bytes(sent)


def test_what_is_appended_follows_what_is_there() -> None:
    arena = Arena(SIZE)
    fill(arena, 3)
    assert arena.append(b"control")
    assert not arena.empty
    assert drain(arena, 4) == b"xxxcontrol"
    assert Arena(SIZE).empty


def test_bytes_do_not_move_while_they_wait() -> None:
    arena = Arena(SIZE)
    fill(arena, 10)
    arena.consumed(4)
    assert (arena.sent, arena.filled) == (4, 10)
    arena.consumed(6)
    assert (arena.sent, arena.filled) == (0, 0)


def test_control_frames_overflow_and_data_waits_for_them() -> None:
    arena = Arena(SIZE)
    fill(arena, SIZE - 4)
    assert arena.append(b"control")
    assert arena.limit == 0
    assert drain(arena, 1000) == b"x" * (SIZE - 4) + b"control"
    assert arena.limit == SIZE
    assert arena.empty


def test_what_overflowed_stays_in_order_when_later_frames_would_fit() -> None:
    arena = Arena(SIZE)
    fill(arena, SIZE - 4)
    assert arena.append(b"first")
    assert arena.append(b"2nd")
    assert drain(arena, SIZE).endswith(b"xfirst2nd")


def test_an_overflow_larger_than_the_arena_moves_in_piece_by_piece() -> None:
    arena = Arena(SIZE)
    fill(arena, SIZE)
    numbers = b"".join(number.to_bytes(4, "big") for number in range(SIZE // 2))
    assert arena.append(numbers)
    arena.consumed(SIZE)
    assert (arena.filled, arena.limit) == (SIZE, 0), "more waits: data must not overtake it"
    assert drain(arena, 5000) == numbers
    assert arena.limit == SIZE


def test_more_than_its_bound_is_refused_and_what_waits_is_kept() -> None:
    arena = Arena(SIZE)
    fill(arena, SIZE)
    assert arena.append(b"y" * MAX_OVERFLOW)
    assert not arena.append(b"z")
    assert drain(arena, SIZE) == b"x" * SIZE + b"y" * MAX_OVERFLOW


def test_the_pages_of_bulk_go_back_and_read_as_zeros() -> None:
    arena = Arena()
    fill(arena, ARENA_BYTES)
    drain(arena, ARENA_BYTES)
    arena.give_back()
    assert bytes(arena.view[:KEPT_BYTES]) == b"x" * KEPT_BYTES, "what small requests fill stays"
    assert bytes(arena.view[KEPT_BYTES:]) == bytes(ARENA_BYTES - KEPT_BYTES)


def test_what_small_requests_filled_does_not_go_back() -> None:
    arena = Arena()
    fill(arena, KEPT_BYTES)
    arena.view[KEPT_BYTES] = 1
    drain(arena, KEPT_BYTES)
    arena.give_back()
    assert arena.view[KEPT_BYTES] == 1


def test_nothing_goes_back_while_something_waits() -> None:
    arena = Arena()
    fill(arena, ARENA_BYTES, b"a")
    drain(arena, ARENA_BYTES)
    fill(arena, ARENA_BYTES, b"b")
    arena.consumed(1)
    arena.give_back()
    assert drain(arena, ARENA_BYTES) == b"b" * (ARENA_BYTES - 1)


def test_what_has_moved_in_from_the_overflow_is_bulk_too() -> None:
    arena = Arena()
    fill(arena, ARENA_BYTES)
    assert arena.append(b"y" * ARENA_BYTES)
    drain(arena, ARENA_BYTES)
    arena.give_back()
    assert not any(arena.view[KEPT_BYTES:])
    fill(arena, ARENA_BYTES, b"c")
    assert drain(arena, ARENA_BYTES) == b"c" * ARENA_BYTES, "and the arena is as good as new"
