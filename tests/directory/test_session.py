"""Conversations with one sidecar, without a network."""

import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.directory.session import Peer, Session, SessionEnded
from handfast_operator.directory.subscriptions import Subscriptions
from handfast_sidecar import __version__
from handfast_sidecar.directory.codec import encode
from handfast_sidecar.directory.messages import (
    AddressAnswer,
    AddressUpdate,
    FromDirectory,
    FromSidecar,
    Hello,
    NobodyAddress,
    Place,
    PodAddress,
    PolicyUpdate,
    Report,
    Unwatch,
    Watch,
    Welcome,
)
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.versions import Versions

PEER = Peer(
    "uid", "shop/cart", SpiffeId.parse("spiffe://test.example/ns/shop/sa/cart"), datetime(2030, 1, 1, tzinfo=UTC)
)
POLICY = PolicyUpdate(7, EffectivePolicy())
HELLO = Hello("0.1.0")
PLACE = Place("node-1", "zone-a")
WELCOME = (Welcome(__version__, ("10.0.0.0/8",)), PLACE, POLICY)


class Table:
    """A directory that knows one address."""

    def __init__(self) -> None:
        self.name = "shop/a"
        self.subscriptions: Subscriptions[Session] = Subscriptions(self.answer)
        self.reports: list[Report] = []
        self.session = self.new()

    def new(self, limit: int = 4) -> Session:
        return Session(
            PEER,
            self.subscriptions,
            lambda _uid: POLICY,
            lambda _peer, report: self.reports.append(report),
            ("10.0.0.0/8",),
            place=lambda _uid: PLACE,
            limit=limit,
        )

    def answer(self, address: str) -> AddressAnswer:
        return PodAddress(address, self.name, "u") if address == "10.0.0.1" else NobodyAddress(address)

    def say(self, *messages: FromSidecar) -> bytes:
        return b"".join(line for each in messages for line in self.session.receive(encode(each)))


def lines(*messages: FromDirectory) -> bytes:
    return b"".join(map(encode, messages))


def test_a_hello_is_welcomed_with_the_ranges_the_pods_place_and_its_policy() -> None:
    assert Table().say(HELLO) == lines(*WELCOME)


def test_each_watch_is_answered_and_an_unwatch_is_not() -> None:
    said = Table().say(HELLO, Watch("10.0.0.1"), Watch("10.0.0.2"), Unwatch("10.0.0.1"))
    assert said == lines(
        *WELCOME,
        AddressUpdate(PodAddress("10.0.0.1", "shop/a", "u")),
        AddressUpdate(NobodyAddress("10.0.0.2")),
    )


def test_what_a_newer_sidecar_says_is_skipped() -> None:
    table = Table()
    table.say(HELLO)
    assert table.session.receive(b'{"type":"dance","steps":3}\n') == ()


def test_a_report_is_handed_on() -> None:
    table, report = Table(), Report("1", "2030-01-01T00:00:00Z", "aa", 1)
    assert table.say(HELLO, report) == lines(*WELCOME)
    assert table.reports == [report]


@pytest.mark.parametrize(
    ("reason", "messages"),
    [
        ("protocol", [Watch("10.0.0.1")]),
        ("protocol", [HELLO, HELLO]),
        ("no_common_version", [Hello("9", Versions(2, 3))]),
        ("bad_address", [HELLO, Watch("orders.shop.svc")]),
        ("bad_address", [HELLO, Watch("010.0.0.1")]),
        ("bad_address", [HELLO, Watch("FD00::1")]),
        ("too_many_watches", [HELLO, *(Watch(f"10.0.0.{n}") for n in range(5))]),
    ],
)
def test_what_breaks_the_protocol_ends_the_session_with_its_reason(reason: str, messages: list[FromSidecar]) -> None:
    with pytest.raises(SessionEnded) as ended:
        Table().say(*messages)
    assert ended.value.reason == reason


def test_a_later_sidecar_that_still_speaks_our_version_is_welcomed() -> None:
    later = b'{"type":"hello","protocol":1,"upTo":3,"version":"9.0.0","mood":"good"}\n'
    assert Table().session.receive(later)[0] == encode(WELCOME[0])


def test_a_sidecar_without_a_version_in_common_is_told_who_is_too_old() -> None:
    with pytest.raises(SessionEnded) as ended:
        Table().say(Hello("9.0.0", Versions(2, 3)))
    assert ended.value.told == (
        "there is no version of the directory's protocol in common: the sidecar (Handfast 9.0.0) speaks 2 to 3, the"
        f" directory (Handfast {__version__}) speaks 1; the directory is too old: upgrade Handfast in the cluster, so"
        " that its directory is of the sidecar's version"
    )


def test_watching_again_what_is_watched_is_no_further_watch() -> None:
    table = Table()
    table.say(HELLO, *[Watch("10.0.0.1")] * 10)
    assert table.session.watched == {"10.0.0.1"}


def test_an_ended_session_leaves_no_watch() -> None:
    table = Table()
    table.say(HELLO, Watch("10.0.0.1"), Watch("10.0.0.2"))
    table.session.end()
    assert len(table.subscriptions) == 0


@given(st.lists(st.binary(max_size=200)))
def test_garbage_ends_the_session_and_raises_nothing_else(garbage: Iterable[bytes]) -> None:
    table = Table()
    table.say(HELLO)
    for each in garbage:
        with contextlib.suppress(SessionEnded):
            table.session.receive(each)


# --- subscriptions


def test_a_change_is_told_once_to_each_watcher_and_only_to_them() -> None:
    table = Table()
    one, two = table.new(), table.new()
    table.subscriptions.watch(one, "10.0.0.1")
    table.subscriptions.watch(two, "10.0.0.1")
    table.subscriptions.watch(two, "10.0.0.2")
    table.name = "shop/b"
    assert table.subscriptions.changed(["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"])
    line = encode(AddressUpdate(PodAddress("10.0.0.1", "shop/b", "u")))
    assert list(table.subscriptions.flush()) == [("10.0.0.1", line, (one, two))]
    assert list(table.subscriptions.flush()) == []


def test_who_comes_between_a_change_and_its_telling_hears_the_new_answer() -> None:
    table = Table()
    table.subscriptions.watch(table.new(), "10.0.0.1")
    table.name = "shop/b"
    table.subscriptions.changed(["10.0.0.1"])
    assert b"shop/b" in table.subscriptions.watch(table.new(), "10.0.0.1")


def test_a_change_that_nobody_watches_wakes_nobody() -> None:
    assert not Table().subscriptions.changed(["10.0.0.1"])
