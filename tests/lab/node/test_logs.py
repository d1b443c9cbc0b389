"""Logs of containers."""

import asyncio
from pathlib import Path

import pytest

from handfast_lab.node.logs import Log


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "app" / "0.log")


async def taken(log: Log, *chunks: bytes) -> None:
    output = asyncio.StreamReader()
    for each in chunks:
        output.feed_data(each)
    output.feed_eof()
    await log.take(output)


async def read(log: Log, *, tail: int | None = None, timestamps: bool = False, follow: bool = False) -> list[bytes]:
    return [line async for line in log.lines(follow=follow, tail=tail, timestamps=timestamps)]


async def test_lines_are_put_together_and_the_last_one_ends(log: Log) -> None:
    await taken(log, b"a\nb", b"c\n\nd")
    assert await read(log) == [b"a\n", b"bc\n", b"\n", b"d\n"]
    assert await read(log, tail=1) == [b"d\n"]
    assert await read(log, tail=0) == []


async def test_each_line_has_its_time(log: Log) -> None:
    await taken(log, b"a b\n")
    stamp, _, text = (await read(log, timestamps=True))[0].partition(b" ")
    assert (stamp[-1:], text) == (b"Z", b"a b\n")


async def test_a_reader_follows_to_the_end(log: Log) -> None:
    output = asyncio.StreamReader()
    writing = asyncio.create_task(log.take(output))
    lines = log.lines(follow=True, tail=None, timestamps=False)
    for word in (b"one\n", b"two\n"):
        output.feed_data(word)
        assert await anext(lines) == word
    output.feed_eof()
    await writing
    assert [line async for line in lines] == []


async def test_last_words_are_short(log: Log) -> None:
    await taken(log, b"".join(b"%d\n" % number for number in range(100)))
    assert log.last_words().startswith("20\n")
