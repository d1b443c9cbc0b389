"""The filter in the kernel itself: a datagram socket takes one as packet sockets do, and shows what passes it."""

import socket
from contextlib import ExitStack

import pytest

from handfast_lab.network.packet_filter import MOST, attach, from_or_to
from lab.network.frames import CLIENT, SERVER, frame

OTHERS = ("10.244.0.9", "10.244.0.10")


def passed(wanted: tuple[str, ...], *frames: bytes) -> list[bytes]:
    """Those that the kernel keeps for a socket with a filter for these addresses."""
    with ExitStack() as stack:
        sending, listening = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        attach(listening, from_or_to(wanted))
        for each in frames:
            sending.send(each)
        listening.setblocking(False)
        kept = []
        while True:
            try:
                kept.append(listening.recv(65536))
            except BlockingIOError:
                return kept


def test_what_comes_from_or_goes_to_an_address_is_kept_whole() -> None:
    asked, answered = frame(1, b"hello"), frame(1, b"welcome", source=SERVER, target=CLIENT)
    for wanted in ((CLIENT,), (SERVER,), (*OTHERS, SERVER), (CLIENT, SERVER)):
        assert passed(wanted, asked, answered) == [asked, answered]


def test_what_others_say_to_each_other_is_not() -> None:
    theirs = frame(1, b"hello", source=OTHERS[0], target=OTHERS[1])
    assert passed((CLIENT, SERVER), theirs, frame(1, b"ours")) == [frame(1, b"ours")]


def test_what_is_no_ipv4_is_not() -> None:
    ipv6 = frame(1, b"hello").replace(b"\x08\x00", b"\x86\xdd", 1)
    assert passed((CLIENT,), ipv6, b"short") == []


def test_as_many_addresses_as_a_jump_reaches() -> None:
    many = tuple(f"10.0.0.{number}" for number in range(MOST - 1))
    assert passed((*many, SERVER), frame(1, b"hello")) == [frame(1, b"hello")]
    for wrong in ((), (*many, CLIENT, SERVER)):
        with pytest.raises(ValueError, match="1 to 100 addresses"):
            from_or_to(wrong)
