"""Names of upstreams, resolved when they are needed; the seam is the system's resolver."""

import asyncio
import socket
from collections.abc import Sequence

import pytest

from handfast_sidecar.traffic import names
from handfast_sidecar.traffic.names import TTL_S, Names, NoSuchHost, look_up


class Resolver:
    """A system's resolver that answers as it is told to, once `go` is set."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.now = 0.0
        self.go = asyncio.Event()
        self.go.set()
        self.names = Names(self.look_up, lambda: self.now)

    async def look_up(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        await self.go.wait()
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.answers[host]


async def test_an_answer_is_good_for_a_few_seconds_and_then_asked_for_again() -> None:
    resolver = Resolver(db=["10.0.0.1"])
    assert await resolver.names.address("db") == "10.0.0.1"
    resolver.answers["db"] = ["10.0.0.2"]
    resolver.now = TTL_S - 0.1
    assert await resolver.names.address("db") == "10.0.0.1"
    resolver.now = TTL_S
    assert await resolver.names.address("db") == "10.0.0.2"
    assert resolver.asked == ["db", "db"]


async def test_connections_take_turns_among_the_addresses_of_a_name() -> None:
    resolver = Resolver(db=["10.0.0.1", "10.0.0.2"])
    assert [await resolver.names.address("db") for _ in range(4)] == ["10.0.0.1", "10.0.0.2"] * 2


async def test_many_who_ask_at_once_are_one_question() -> None:
    resolver = Resolver(db=["10.0.0.1"])
    resolver.go.clear()
    waiting = [asyncio.create_task(resolver.names.address("db")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting.pop().cancel()  # who goes away does not take the answer from the others
    resolver.go.set()
    assert set(await asyncio.gather(*waiting)) == {"10.0.0.1"}
    assert resolver.asked == ["db"]


async def test_a_name_without_an_address_is_an_error_and_asked_for_anew() -> None:
    resolver = Resolver(empty=[])
    for host, why in (("nowhere", "Name or service not known"), ("empty", "has no address")):
        with pytest.raises(NoSuchHost, match=f"the name {host} .*{why}"):
            await resolver.names.address(host)
    resolver.answers["nowhere"] = ["10.0.0.1"]
    assert await resolver.names.address("nowhere") == "10.0.0.1"


async def test_a_resolver_that_does_not_answer_is_given_up_and_its_late_answer_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "LOOKUP_TIMEOUT_S", 0.01)
    resolver = Resolver(db=["10.0.0.1"])
    resolver.go.clear()
    with pytest.raises(NoSuchHost, match="the name db was not resolved within"):
        await resolver.names.address("db")
    resolver.go.set()
    monkeypatch.undo()
    assert await resolver.names.address("db") == "10.0.0.1"
    assert resolver.asked == ["db"]


async def test_the_systems_own_resolver_answers_with_addresses_of_one_family() -> None:
    found = await look_up("localhost")
    assert set(found) in ({"127.0.0.1"}, {"::1"})
    with pytest.raises(OSError, match=r"known|resolution"):
        await look_up("no-such-name.invalid")
