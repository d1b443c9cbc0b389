"""Our mux and HashiCorp's, each as the client of the other: the wire format is theirs."""

import pytest

from handfast_sidecar.tunnel.frames import INITIAL_WINDOW, GoAway
from support.yamux_peer import conversation, pattern, summed

SIZES = (0, 1, 70, INITIAL_WINDOW, INITIAL_WINDOW + 1, 3_000_000)
WINDOWS = pytest.mark.parametrize("window", [INITIAL_WINDOW, 1 << 20])
BOTH_WAYS = pytest.mark.parametrize("our_client", [True, False], ids=["our client", "their client"])


@WINDOWS
@pytest.mark.parametrize("size", SIZES)
async def test_their_server_echoes_what_our_client_sends(size: int, window: int) -> None:
    async with conversation(our_client=True, window=window) as (ours, theirs):
        stream = ours.open(b"first")
        await theirs.says(1, "accepted")
        theirs.ask(1, "echo")
        stream.write(pattern(size))
        stream.finish()
        assert await theirs.says(1, "echoed") == "ok"
        await stream.ended.wait()
        assert stream.received == b"first" + pattern(size)
        assert not ours.mux.streams


@WINDOWS
@pytest.mark.parametrize("size", SIZES)
async def test_our_server_echoes_what_their_client_sends(size: int, window: int) -> None:
    async with conversation(our_client=False, window=window) as (ours, theirs):
        ours.manner["echoes"] = True
        theirs.ask(1, "open")
        assert await theirs.says(1, "opened") == "ok"
        theirs.ask(1, "read")
        theirs.ask(1, "write", size)
        assert await theirs.says(1, "wrote") == "ok"
        theirs.ask(1, "close")
        assert await theirs.says(1, "read") == summed(pattern(size))
        assert not ours.mux.streams


async def test_many_streams_of_ours_run_at_once() -> None:
    async with conversation(our_client=True) as (ours, theirs):
        streams = [ours.open() for _ in range(200)]
        for number, stream in enumerate(streams):
            await theirs.says(stream.stream.id, "accepted")
            theirs.ask(stream.stream.id, "echo")
            stream.write(pattern(number * 2_000))
            stream.finish()
        for number, stream in enumerate(streams):
            assert await theirs.says(stream.stream.id, "echoed") == "ok"
            await stream.ended.wait()
            assert stream.received == pattern(number * 2_000)
        theirs.ask("session", "streams")
        assert await theirs.says("session", "streams") == "0"


async def test_more_streams_of_theirs_than_their_backlog_run_at_once() -> None:
    numbers = range(1, 601, 2)
    async with conversation(our_client=False) as (ours, theirs):
        ours.manner["echoes"] = True
        for number in numbers:
            theirs.ask(number, "open")
            theirs.ask(number, "read")
            theirs.ask(number, "write", number * 1_000)
        for number in numbers:
            assert await theirs.says(number, "wrote") == "ok"
            theirs.ask(number, "close")
        for number in numbers:
            assert await theirs.says(number, "read") == summed(pattern(number * 1_000))
        assert not ours.mux.streams


@BOTH_WAYS
async def test_after_their_half_close_we_still_send(our_client: bool) -> None:
    async with conversation(our_client=our_client) as (ours, theirs):
        if our_client:
            stream = ours.open()
            await theirs.says(1, "accepted")
        else:
            theirs.ask(1, "open")
            await theirs.says(1, "opened")
            theirs.ask(1, "write", 1)
            await theirs.says(1, "wrote")
            await ours.until(lambda: 1 in ours.accepted)
            stream = ours.accepted[1]
        theirs.ask(1, "close")
        await stream.ended.wait()
        theirs.ask(1, "read")
        stream.write(pattern(1_000_000))
        stream.finish()
        assert await theirs.says(1, "read") == summed(pattern(1_000_000))
        assert not ours.mux.streams


async def test_after_our_half_close_they_still_send() -> None:
    async with conversation(our_client=True) as (ours, theirs):
        stream = ours.open()
        stream.finish()
        await theirs.says(1, "accepted")
        theirs.ask(1, "read")
        assert await theirs.says(1, "read") == summed(b"")
        theirs.ask(1, "write", 1_000_000)
        assert await theirs.says(1, "wrote") == "ok"
        theirs.ask(1, "close")
        await stream.ended.wait()
        assert stream.received == pattern(1_000_000)
        assert not ours.mux.streams


async def test_our_abort_resets_their_stream_alone() -> None:
    async with conversation(our_client=True) as (ours, theirs):
        first, second = ours.open(), ours.open()
        await theirs.says(1, "accepted")
        await theirs.says(3, "accepted")
        theirs.ask(1, "read")
        first.stream.reset()
        assert "connection_reset" in await theirs.says(1, "read")
        theirs.ask(3, "echo")
        second.write(b"still here")
        second.finish()
        await second.ended.wait()
        assert second.received == b"still here"


async def test_their_abort_reaches_our_stream() -> None:
    async with conversation(our_client=True, close_timeout="50ms") as (ours, theirs):
        stream = ours.open()
        await theirs.says(1, "accepted")
        theirs.ask(1, "close")  # and as we do not follow, they reset it
        await stream.gone.wait()
        assert stream.ended.is_set()
        assert not ours.mux.streams


async def test_a_stream_that_we_refuse_is_reset() -> None:
    async with conversation(our_client=False) as (ours, theirs):
        ours.refuses = True
        theirs.ask(1, "open")
        theirs.ask(1, "read")
        assert "connection_reset" in await theirs.says(1, "read")
        assert not ours.mux.streams


@BOTH_WAYS
async def test_each_answers_the_pings_of_the_other(our_client: bool) -> None:
    async with conversation(our_client=our_client) as (ours, theirs):
        ours.mux.ping(77)
        theirs.ask("session", "ping")
        assert await theirs.says("session", "pinged") == "ok"
        await ours.until(lambda: ours.mux.pongs > 0)


async def test_after_their_go_away_what_runs_goes_on_and_what_is_opened_is_reset() -> None:
    async with conversation(our_client=True) as (ours, theirs):
        running = ours.open()
        await theirs.says(1, "accepted")
        theirs.ask("session", "goaway")
        assert await theirs.says("session", "gone") == "ok"
        late = ours.open()
        await late.gone.wait()
        assert ours.mux.peer_going_away
        theirs.ask(1, "echo")
        running.write(pattern(400_000))
        running.finish()
        await running.ended.wait()
        assert running.received == pattern(400_000)


async def test_after_our_go_away_they_open_no_more() -> None:
    async with conversation(our_client=False) as (ours, theirs):
        ours.mux.go_away(GoAway.NORMAL)
        theirs.ask("session", "ping")  # its answer comes after the go-away
        await theirs.says("session", "pinged")
        theirs.ask(1, "open")
        assert await theirs.says(1, "opened") == "remote_end_is_not_accepting_connections"


async def test_our_protocol_error_ends_their_session() -> None:
    async with conversation(our_client=True) as (ours, theirs):
        ours.mux.go_away(GoAway.PROTOCOL_ERROR)
        assert await theirs.says("session", "over") == "yamux_protocol_error"


async def test_what_they_do_not_read_we_do_not_send() -> None:
    async with conversation(our_client=True) as (ours, theirs):
        stream = ours.open()
        await theirs.says(1, "accepted")
        stream.write(pattern(2 * INITIAL_WINDOW))
        theirs.ask("session", "ping")
        await theirs.says("session", "pinged")
        assert stream.sent == INITIAL_WINDOW
        stream.finish()
        theirs.ask(1, "read")
        assert await theirs.says(1, "read") == summed(pattern(2 * INITIAL_WINDOW))


async def test_what_we_do_not_read_they_do_not_send() -> None:
    async with conversation(our_client=False) as (ours, theirs):
        ours.manner["reads"] = False
        theirs.ask(1, "open")
        await theirs.says(1, "opened")
        theirs.ask(1, "write", 2 * INITIAL_WINDOW)
        await ours.until(lambda: 1 in ours.accepted and len(ours.accepted[1].received) == INITIAL_WINDOW)
        theirs.ask("session", "ping")
        await theirs.says("session", "pinged")
        stream = ours.accepted[1]
        assert len(stream.received) == INITIAL_WINDOW
        stream.read_on()
        assert await theirs.says(1, "wrote") == "ok"
        theirs.ask(1, "close")
        await stream.ended.wait()
        assert stream.received == pattern(2 * INITIAL_WINDOW)
