"""One epoll beside asyncio's own: who is called, when, and that nothing spins."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from handfast_sidecar.loop import poller
from handfast_sidecar.loop.poller import READ, WRITE, Poller

Pair = tuple[socket.socket, socket.socket]


@contextmanager
def non_blocking_pair() -> Iterator[Pair]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


@pytest.fixture
def pair() -> Iterator[Pair]:
    with non_blocking_pair() as sockets:
        yield sockets


@pytest.fixture
def other() -> Iterator[Pair]:
    with non_blocking_pair() as sockets:
        yield sockets


class Heard:
    """A handler that keeps the events it was called with."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[int] = asyncio.Queue()

    def __call__(self, events: int) -> None:
        self.events.put_nowait(events)

    async def next(self) -> int:
        return await asyncio.wait_for(self.events.get(), 5)


async def turns(count: int) -> None:
    """Wait until the poller has served this many turns, each with an event of a socket of its own."""
    with non_blocking_pair() as (near, far):
        for _ in range(count):
            served = asyncio.Event()

            def heard(_events: int, served: asyncio.Event = served) -> None:
                near.recv(1)
                served.set()

            poller.current().watch(near.fileno(), READ, heard)
            far.send(b".")
            await asyncio.wait_for(served.wait(), 5)
        poller.current().forget(near.fileno())


async def test_a_handler_is_called_for_what_it_asked(pair: Pair) -> None:
    near, far = pair
    heard = Heard()
    poller.current().watch(near.fileno(), WRITE, heard)
    assert await heard.next() == WRITE
    poller.current().watch(near.fileno(), READ | WRITE, heard)
    far.send(b"x")
    while (events := await heard.next()) == WRITE:
        pass
    assert events == READ | WRITE
    poller.current().forget(near.fileno())


async def test_another_watch_replaces_the_one_before(pair: Pair) -> None:
    near, far = pair
    first, second = Heard(), Heard()
    poller.current().watch(near.fileno(), READ | WRITE, first)
    poller.current().watch(near.fileno(), READ, second)
    far.send(b"x")
    assert await second.next() == READ
    assert first.events.empty()
    poller.current().forget(near.fileno())


async def test_another_handler_for_the_same_events_replaces_the_one_before(pair: Pair) -> None:
    near, far = pair
    first, second = Heard(), Heard()
    poller.current().watch(near.fileno(), READ, first)
    poller.current().watch(near.fileno(), READ, second)
    far.send(b"x")
    assert await second.next() == READ
    assert first.events.empty()
    poller.current().forget(near.fileno())


async def test_who_waits_for_nothing_is_told_of_a_hang_up_alone(pair: Pair) -> None:
    near, far = pair
    heard = Heard()
    poller.current().watch(near.fileno(), 0, heard)
    far.send(b"x")
    await turns(5)
    assert heard.events.empty(), "neither bytes nor room were asked for"
    far.close()
    assert not await heard.next() & (READ | WRITE)
    poller.current().forget(near.fileno())


async def test_who_waits_for_nothing_again_is_told_nothing_more_of_bytes(pair: Pair) -> None:
    near, far = pair
    heard = Heard()
    poller.current().watch(near.fileno(), READ, heard)
    poller.current().watch(near.fileno(), 0, heard)
    far.send(b"x")
    await turns(5)
    assert heard.events.empty()
    poller.current().watch(near.fileno(), READ, heard)
    assert await heard.next() == READ, "and hears of them when it asks again"
    poller.current().forget(near.fileno())


async def test_a_forgotten_hang_up_does_not_spin(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, select = [], Poller.select

    def counted(self: Poller, timeout: float | None = None) -> object:
        asked.append(timeout)
        return select(self, timeout)

    monkeypatch.setattr(Poller, "select", counted)
    poller.current().watch(pair[0].fileno(), 0, lambda _events: poller.current().forget(pair[0].fileno()))
    pair[1].close()
    timer = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, timer.set)
    await timer.wait()
    assert len(asked) < 10, "a turn for the hang-up, one for the timer, and none besides"


async def test_one_that_is_forgotten_in_a_turn_has_no_more_events_in_it(pair: Pair, other: Pair) -> None:
    current, heard = poller.current(), Heard()
    first, second = pair[0].fileno(), other[0].fileno()

    def forget_the_other(fd: int, the_other: int) -> Callable[[int], None]:
        def handler(events: int) -> None:
            heard(events)
            current.forget(fd)
            current.forget(the_other)

        return handler

    current.watch(first, WRITE, forget_the_other(first, second))
    current.watch(second, WRITE, forget_the_other(second, first))
    await heard.next()
    await turns(3)
    assert heard.events.empty()


async def test_an_event_is_not_given_to_who_took_the_descriptor_in_the_same_turn(pair: Pair, other: Pair) -> None:
    current, successor, over = poller.current(), Heard(), asyncio.Event()
    both = [pair[0].fileno(), other[0].fileno()]

    def take_over(_events: int) -> None:
        """As a connection that ends the other, whose descriptor a third one gets at once."""
        for fd in both:
            current.forget(fd)
            current.watch(fd, READ, successor)
        over.set()

    for fd in both:
        current.watch(fd, WRITE, take_over)
    await over.wait()
    await turns(3)
    assert successor.events.empty(), "the event was its predecessor's"
    pair[1].send(b"x")
    assert await successor.next() == READ
    for fd in both:
        current.forget(fd)


async def test_a_forgotten_descriptor_can_be_watched_again(pair: Pair) -> None:
    near, far = pair
    before, after = Heard(), Heard()
    poller.current().watch(near.fileno(), READ, before)
    poller.current().forget(near.fileno())
    poller.current().forget(near.fileno())
    far.send(b"x")
    await turns(3)
    assert before.events.empty()
    poller.current().watch(near.fileno(), READ, after)
    assert await after.next() == READ
    poller.current().forget(near.fileno())


async def test_a_new_socket_under_a_closed_ones_number_is_watched_anew() -> None:
    before, after = Heard(), Heard()
    near, far = socket.socketpair()
    number = near.fileno()
    poller.current().watch(number, READ, before)
    poller.current().closing(number)
    near.close()
    far.close()
    near, far = socket.socketpair()
    with near, far:
        assert near.fileno() == number
        poller.current().watch(number, READ, after)
        far.send(b"x")
        assert await after.next() == READ
        assert before.events.empty()
        poller.current().forget(number)


async def test_a_handler_that_fails_is_reported_and_the_others_have_their_turn(pair: Pair, other: Pair) -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    served = [Heard(), Heard()]
    current, failure = poller.current(), ValueError("of one connection")

    def failing(which: int, fd: int) -> Callable[[int], None]:
        def handler(events: int) -> None:
            served[which](events)
            current.forget(fd)
            raise failure

        return handler

    for which, sockets in enumerate((pair, other)):
        current.watch(sockets[0].fileno(), WRITE, failing(which, sockets[0].fileno()))
    assert [await each.next() for each in served] == [WRITE, WRITE]
    assert [each["exception"] for each in reported] == [failure, failure]


async def test_the_end_of_a_turn_comes_after_all_its_handlers(pair: Pair, other: Pair) -> None:
    current, order, over = poller.current(), list[str](), asyncio.Event()
    for near, _far in (pair, other):

        def handler(_events: int, fd: int = near.fileno()) -> None:
            current.forget(fd)
            order.append("handler")
            current.at_end(lambda: order.append("end"))
            current.at_end(over.set)

        current.watch(near.fileno(), WRITE, handler)
    await asyncio.wait_for(over.wait(), 5)
    assert order == ["handler", "handler", "end", "end"]


async def test_outside_of_a_turn_the_end_is_the_loops_next_iteration() -> None:
    order: list[str] = []
    poller.current().at_end(lambda: order.append("end"))
    poller.current().at_end(lambda: order.append("end"))
    assert order == []
    await asyncio.sleep(0)
    assert order == ["end", "end"]


async def test_what_the_end_of_a_turn_adds_to_it_is_called_too() -> None:
    order, over = list[int](), asyncio.Event()

    def add(number: int) -> None:
        order.append(number)
        if number < 3:
            poller.current().at_end(lambda: add(number + 1))
        else:
            over.set()

    poller.current().at_end(lambda: add(1))
    await asyncio.wait_for(over.wait(), 5)
    assert order == [1, 2, 3]


async def test_a_failure_at_the_end_of_a_turn_is_reported_and_the_rest_is_called() -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    over, failure = asyncio.Event(), ValueError("of one line")

    def fail() -> None:
        raise failure

    poller.current().at_end(fail)
    poller.current().at_end(over.set)
    await asyncio.wait_for(over.wait(), 5)
    assert [each["exception"] for each in reported] == [failure]


async def test_a_loops_poller_is_one() -> None:
    assert poller.current() is poller.current()


async def test_timers_of_the_same_loop_are_on_time() -> None:
    loop = asyncio.get_running_loop()
    poller.current()
    due, called = loop.time() + 0.05, loop.create_future()
    loop.call_at(due, lambda: called.set_result(loop.time()))
    assert -0.001 <= await called - due < 1


async def test_a_timer_is_not_waited_for_in_a_busy_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, select = [], Poller.select

    def counted(self: Poller, timeout: float | None = None) -> object:
        waits.append(timeout)
        return select(self, timeout)

    monkeypatch.setattr(Poller, "select", counted)
    timer = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0303, timer.set)
    await timer.wait()
    assert len(waits) < 6


async def test_the_streams_of_asyncio_live_beside_it(pair: Pair) -> None:
    near, _far = pair
    heard = Heard()
    poller.current().watch(near.fileno(), WRITE, heard)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x" * 1_000_000)
        writer.write_eof()
        assert len(await reader.read()) == 1_000_000
        writer.close()
        await writer.wait_closed()
    assert await heard.next() == WRITE
    poller.current().forget(near.fileno())
