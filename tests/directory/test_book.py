"""What a sidecar knows of addresses, and what of it survives a restart."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.directory.book import AddressBook
from handfast_sidecar.directory.cache_file import FILE_NAME, CacheFile
from handfast_sidecar.directory.messages import NobodyAddress, Place, PodAddress, Transport
from handfast_sidecar.identity.spiffe import SpiffeId

ONE = PodAddress("10.0.0.1", "shop/a", "u", Transport.TUNNEL, SpiffeId.parse("spiffe://test.example/ns/shop/sa/a"))
TWO = NobodyAddress("10.0.0.2")


def book(*answers: PodAddress | NobodyAddress, limit: int = 3) -> AddressBook:
    made = AddressBook(limit, idle_s=600)
    made.load(answers, 0)
    return made


def test_an_address_is_unknown_until_the_directory_spoke() -> None:
    made = book()
    assert made.want("10.0.0.1", 0) == (True, ())
    assert made.known("10.0.0.1") is None
    assert made.apply(ONE)
    assert made.known("10.0.0.1") is ONE


def test_an_answer_that_changes_nothing_or_that_nobody_asked_for_is_no_change() -> None:
    made = book(ONE)
    assert not made.apply(ONE)
    assert not made.apply(TWO)
    assert made.known("10.0.0.2") is None


def test_the_least_recently_used_address_leaves_a_full_book() -> None:
    made = book(ONE, TWO, NobodyAddress("10.0.0.3"))
    made.touch("10.0.0.1", 1)
    assert made.want("10.0.0.4", 2) == (True, ("10.0.0.2",))
    assert made.wanted() == ("10.0.0.4", "10.0.0.1", "10.0.0.3")


def test_an_idle_address_is_forgotten() -> None:
    made = book(ONE, TWO)
    made.touch("10.0.0.1", 300)
    assert made.expired(600) == ("10.0.0.2",)
    assert made.expired(899) == ()
    assert made.expired(900) == ("10.0.0.1",)
    assert len(made) == 0


@given(st.lists(st.tuples(st.sampled_from(["want", "touch", "expire"]), st.integers(0, 9))))
def test_the_book_never_holds_more_than_its_limit_and_tells_who_left(steps: list[tuple[str, int]]) -> None:
    made, watched = AddressBook(limit=4, idle_s=3), set[str]()
    for now, (what, number) in enumerate(steps):
        address = f"10.0.0.{number}"
        if what == "want":
            new, left = made.want(address, now)
            watched = watched - set(left) | ({address} if new else set())
        elif what == "touch":
            made.touch(address, now)
        else:
            watched -= set(made.expired(now))
        assert set(made.wanted()) == watched
        assert len(watched) <= 4


def test_what_was_known_is_read_back_in_the_order_of_use(tmp_path: Path) -> None:
    assert CacheFile(tmp_path, "uid").write([ONE, TWO])
    assert CacheFile(tmp_path, "uid").read() == (ONE, TWO)
    assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]


def test_a_restarted_proxy_knows_where_it_is(tmp_path: Path) -> None:
    before, after = CacheFile(tmp_path, "uid"), CacheFile(tmp_path, "uid")
    before.place = Place("node-1", "zone-a")
    assert before.write([ONE])
    assert after.read() == (ONE,)
    assert after.place == Place("node-1", "zone-a")


def test_there_is_nothing_to_read_before_the_first_write(tmp_path: Path) -> None:
    assert CacheFile(tmp_path, "uid").read() == ()


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"handfast-directory-cache 2 uid\n", b"{}\n"])
def test_a_damaged_or_foreign_file_is_ignored(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert CacheFile(tmp_path, "uid").read() == ()


def test_a_file_cut_in_the_middle_of_a_line_is_ignored(tmp_path: Path) -> None:
    cache = CacheFile(tmp_path, "uid")
    cache.write([ONE, TWO])
    (tmp_path / FILE_NAME).write_bytes((tmp_path / FILE_NAME).read_bytes()[:-10])
    assert cache.read() == ()


def test_the_file_of_another_pod_is_ignored(tmp_path: Path) -> None:
    CacheFile(tmp_path, "uid").write([ONE])
    assert CacheFile(tmp_path, "other").read() == ()


def test_a_folder_that_cannot_be_written_costs_only_the_cache(tmp_path: Path) -> None:
    assert not CacheFile(tmp_path / "missing", "uid").write([ONE])
