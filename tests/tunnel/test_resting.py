"""Whose signatures a sidecar says it needs."""

from handfast_sidecar.tunnel import resting
from handfast_sidecar.tunnel.resting import Issuers, Resting, needed
from support.directory import until


def test_our_own_leafs_issuer_comes_first_and_none_comes_twice() -> None:
    assert needed("bb", [("bb", "aa"), ("aa", "cc"), ("", "bb")]) == ("bb", "aa", "cc")


def test_who_has_no_identifier_is_left_out() -> None:
    assert needed("", [("", "")]) == ()


def test_sixteen_are_told_at_most() -> None:
    told = needed("own", [(f"{number:02}",) for number in range(99)])
    assert (len(told), told[0]) == (16, "own")


async def test_many_tunnels_that_end_are_one_look_and_one_piece_of_news() -> None:
    now: list[Issuers] = [("aa", "bb")]
    news: list[Issuers] = []
    watch = Resting(lambda: now[0], lambda: news.append(now[0]))
    for _ in range(100):
        watch.touched()
    await until(lambda: bool(news))
    now[0] = ("aa",)
    watch.touched()
    await until(lambda: len(news) > 1)
    watch.touched()
    await until(lambda: watch._due is None)
    assert news == [("aa", "bb"), ("aa",)]
    assert resting.LOOK_S < 1
